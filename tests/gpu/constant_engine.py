"""An engine that answers the same whatever it sees, on a real device or the stub driver, in TensorRT's place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from cuda.bindings import driver

from edged.core.decode import head_names
from edged.core.manifest import Manifest
from edged.gpu.check import check
from edged.gpu.cuda import Cuda
from edged.gpu.protocols import TensorSpec

Array = np.ndarray[Any, Any]
HEAD_NAMES = head_names(3)
INPUT = "images"


class ConstantEngine:
    """Implements `edged.gpu.protocols.Engine`: heads are copied on the device to where an engine would write them.

    Args:
        gpu: current in this thread.
        manifest: of the model that it stands for.
        heads: of each image of the largest batch: p3, p4, p5, (anchors * (5 + classes), rows, columns) each; their
            dtype, float32 or float16, is that of the input, too.

    Attributes:
        input_address: of the images, (max_batch, 3, H, W), once a context was bound.
    """

    def __init__(self, gpu: Cuda, manifest: Manifest, heads: Sequence[Sequence[Array]]) -> None:
        width, height = manifest.input_wh
        dtype = heads[0][0].dtype.name
        self.max_batch = len(heads)
        self.input_address = 0
        self.image_bytes = {name: each.nbytes for name, each in zip(HEAD_NAMES, heads[0], strict=True)}
        self.tensors: Mapping[str, TensorSpec] = {
            INPUT: TensorSpec((-1, 3, height, width), dtype, is_input=True),
            **{
                name: TensorSpec((-1, *each.shape), dtype, is_input=False)
                for name, each in zip(HEAD_NAMES, heads[0], strict=True)
            },
        }
        self.kept = {
            name: _on_device(gpu, np.stack([image[place] for image in heads])) for place, name in enumerate(HEAD_NAMES)
        }

    def make_context(self, batch: int, stream: int) -> ConstantContext:
        """For one batch size."""
        del stream
        return ConstantContext(self, batch)

    def close(self) -> None:
        """Its memory goes with the device."""


class ConstantContext:
    """Implements `edged.gpu.protocols.Context`."""

    can_be_captured = True

    def __init__(self, engine: ConstantEngine, batch: int) -> None:
        self._engine, self._batch = engine, batch
        self._addresses: Mapping[str, int] = {}

    def bind(self, addresses: Mapping[str, int]) -> None:
        """Remember where the outputs go."""
        self._addresses = addresses
        self._engine.input_address = addresses[INPUT]

    def enqueue(self, stream: int) -> None:
        """Copy the heads: the least that an engine does to memory."""
        for name, nbytes in self._engine.image_bytes.items():
            source, target = self._engine.kept[name], self._addresses[name]
            check("cuMemcpyDtoDAsync", driver.cuMemcpyDtoDAsync(target, source, nbytes * self._batch, stream))


def _on_device(gpu: Cuda, content: Array) -> int:
    staged = gpu.allocate_pinned(content.nbytes)
    staged[:] = np.ascontiguousarray(content).reshape(-1).view(np.uint8)
    address, stream = gpu.allocate(content.nbytes), gpu.make_stream()
    gpu.upload(address, staged.ctypes.data, content.nbytes, stream)
    gpu.synchronize(stream)
    gpu.free_pinned(staged)
    return address
