"""What the recipe knows of engine building: the machine's facts and one call. Fakes implement this."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

from edged.core.manifest import EngineRecord

ENGINE = "engine.plan"
TIMING_CACHE = "timing.cache"
Decode = Literal["plugin", "kernel"]


class EngineMaker(Protocol):
    """Builds engines on this machine."""

    @property
    def facts(self) -> Mapping[str, str]:
        """What an engine is bound to: TensorRT's version, the device, the plugin's version."""
        ...

    @property
    def typed(self) -> bool:
        """Whether the network is strongly typed: precision comes from the graph, not from a flag."""
        ...

    @property
    def decode(self) -> Decode:
        """Where boxes are decoded: by the plugin inside the engine or by our kernel behind it."""
        ...

    def build(
        self, model: Path, folder: Path, *, precision: str, batch: tuple[int, int, int], workspace_mb: int
    ) -> EngineRecord:
        """Build an engine from an ONNX file into `folder` (`engine.plan`, `timing.cache`).

        Raises:
            EdgedError: TensorRT failed; the message has the cause where it is known, and the log's tail.
        """
        ...
