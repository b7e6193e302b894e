"""What the recipe knows of engine building: the machine's facts and one call. Fakes implement this."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from edged.core.manifest import EngineRecord

ENGINE = "engine.plan"
TIMING_CACHE = "timing.cache"
GPU_NAME = re.compile(r"this|all|\d{1,2}\.\d")  # what a portable engine is built for, see `targets`
MOST_BATCH = 64
WORKSPACE_MB = (16, 1 << 20)  # least and most
DecodeBy = Literal["plugin", "kernel"]


def engine_file(precision: str, gpu: str, capabilities: Sequence[str]) -> str:
    """An engine's name in a bundle, one for each precision and what it was built for.

    Args:
        precision: fp32, fp16 or int8.
        gpu: name of the device; empty for an engine of TensorRT for RTX.
        capabilities: of the latter, e.g. `8.6`.
    """
    device = re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-")
    target = device or "rtx-sm" + "-".join(each.replace(".", "") for each in capabilities)
    return f"engine-{precision}-{target}.plan"


def warnings_of(maker: EngineMaker, precision: str) -> list[str]:
    """What a user should know before `maker` builds in this precision (fp32, fp16 or int8); often nothing."""
    return [text for text in (maker.passed_over, maker.warning(precision)) if text]


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
    def decode(self) -> DecodeBy:
        """Where boxes are decoded: by the plugin inside the engine or by our kernel behind it."""
        ...

    @property
    def runs_here(self) -> bool:
        """Whether this machine has a device that runs what is built."""
        ...

    @property
    def title(self) -> str:
        """What builds, for people: `TensorRT 10.3.0`."""
        ...

    @property
    def passed_over(self) -> str:
        """Which TensorRT was to build before it, and why it does not; empty if none was."""
        ...

    def warning(self, precision: str) -> str:
        """What speaks against building in a precision here; empty if nothing."""
        ...

    def build(
        self, model: Path, folder: Path, *, precision: str, batch: tuple[int, int, int], workspace_mb: int
    ) -> EngineRecord:
        """Build an engine from an ONNX file into `folder` (`engine.plan`, `timing.cache`).

        The record's `file` is the engine's name in a bundle.

        Raises:
            EdgedError: TensorRT failed; the message has the cause where it is known, and the log's tail.
        """
        ...
