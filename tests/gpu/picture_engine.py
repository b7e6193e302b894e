"""An engine for the real CUDA wrapper on the stub driver: its heads are the picture's own pixels, which differ."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edged.core.manifest import Manifest
from edged.gpu.protocols import TensorSpec
from tests.gpu.stub_driver import Stub
from tests.handmade import CLASSES, DECODE

SIDE = 64
HEADS = {"p3": (24, 8, 8), "p4": (24, 4, 4), "p5": (24, 2, 2)}
MANIFEST = Manifest(
    name="stub",
    architecture="handmade",
    classes=CLASSES,
    decode=DECODE,
    input_wh=(SIDE, SIDE),
    licence="Apache-2.0",
    files={},
)


class PictureEngine:
    """Implements `edged.gpu.protocols.Engine`."""

    max_batch = 2

    def __init__(self, stub: Stub) -> None:
        self.stub = stub
        self.tensors: Mapping[str, TensorSpec] = {
            "images": TensorSpec((-1, 3, SIDE, SIDE), "float32", is_input=True),
            **{name: TensorSpec((-1, *shape), "float32", is_input=False) for name, shape in HEADS.items()},
        }

    def make_context(self, batch: int, stream: int) -> PictureContext:
        assert stream
        return PictureContext(self.stub, batch)

    def keep_kernels(self) -> None:
        pass

    def close(self) -> None:
        pass


class PictureContext:
    """Implements `edged.gpu.protocols.Context`."""

    can_be_captured = True

    def __init__(self, stub: Stub, batch: int) -> None:
        self._stub, self._batch = stub, batch
        self._addresses: Mapping[str, int] = {}

    def bind(self, addresses: Mapping[str, int]) -> None:
        self._addresses = addresses

    def enqueue(self, stream: int) -> None:
        for image in range(self._batch):
            source = self._addresses["images"] + image * 3 * SIDE * SIDE * 4
            for name, shape in HEADS.items():
                nbytes = int(np.prod(shape)) * 4
                self._stub.copy(stream, self._addresses[name] + image * nbytes, source, nbytes)
                source += nbytes
