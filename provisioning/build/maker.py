"""The interface of what builds engines. `TensorRtMaker` implements it, and fakes in tests do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from edged.core.decode import GridDecode, ListDecode
from edged.core.manifest import EngineRecord, Manifest

ENGINE = "engine.plan"
TIMING_CACHE = "timing.cache"
GPU_NAME = re.compile(r"this|all|\d{1,2}\.\d")  # `this` GPU, `all` capabilities, or one such as 8.6
MOST_BATCH = 64
WORKSPACE_MB = (16, 1 << 20)  # smallest and largest allowed
DecodeBy = Literal["plugin", "kernel"]


def engine_file(precision: str, gpu: str, capabilities: Sequence[str]) -> str:
    """An engine's file name in a bundle, different for each precision and target.

    Args:
        precision: fp32, fp16 or int8.
        gpu: name of the device; empty for an engine of TensorRT for RTX.
        capabilities: compute capabilities of an engine of TensorRT for RTX, e.g. `8.6`.
    """
    device = re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-")
    target = device or "rtx-sm" + "-".join(each.replace(".", "") for each in capabilities)
    return f"engine-{precision}-{target}.plan"


def warnings_of(maker: EngineMaker, precision: str) -> list[str]:
    """What a user should know before `maker` builds in this precision (fp32, fp16 or int8); often nothing."""
    return [text for text in (maker.passed_over, maker.warning(precision)) if text]


def suited(maker: EngineMaker, manifest: Manifest) -> EngineMaker:
    """The maker as this model needs it.

    Raises:
        UsageError: it was told to use the plugin, which has nothing to decode in this model.
    """
    match manifest.decode:
        case GridDecode():
            return maker
        case ListDecode():
            return maker.without_plugin()


class EngineMaker(Protocol):
    """Builds engines on this machine."""

    @property
    def facts(self) -> Mapping[str, str]:
        """Everything that an engine depends on beside the model: TensorRT's version, device, plugin version."""
        ...

    @property
    def typed(self) -> bool:
        """Whether the network is strongly typed: precision comes from the graph, not from a flag."""
        ...

    @property
    def decode(self) -> DecodeBy:
        """Where boxes are decoded: by the plugin inside the engine, or by our kernel after it."""
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
        """Why TensorRTs that come first were not taken; empty if none was passed over."""
        ...

    def warning(self, precision: str) -> str:
        """Why this precision (fp32, fp16 or int8) is a bad choice here; empty if it is not."""
        ...

    def without_plugin(self) -> EngineMaker:
        """The same for a model whose engine gives finished boxes: `decode` is `kernel`.

        Raises:
            UsageError: the plugin was asked for by name.
        """
        ...

    def build(
        self, model: Path, folder: Path, *, precision: str, batch: tuple[int, int, int], workspace_mb: int
    ) -> EngineRecord:
        """Build an engine from an ONNX file into `folder` (files ENGINE and TIMING_CACHE).

        Args:
            model: the ONNX file.
            folder: exists and is writable.
            precision: fp32, fp16 or int8.
            batch: smallest, optimal and largest batch size.
            workspace_mb: device memory for the build, MiB.

        Returns:
            What the manifest says of the engine; `file` is its name in a bundle.

        Raises:
            EdgedError: TensorRT failed; the message has the cause where it is known, and the log's tail.
        """
        ...
