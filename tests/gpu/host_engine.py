"""An `Engine` that runs the bundle's ONNX on the processor, in host memory, with or without the decode inside."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime as ort

from edged.core.decode import GridDecode, cells_hw
from edged.core.errors import DetectorError
from edged.core.manifest import Manifest
from edged.gpu.model import yolo_layer
from edged.gpu.protocols import TensorSpec
from plugins.yolo_layer.contract import OUTPUTS
from plugins.yolo_layer.kernel import DecodeOutputs, cell_count, decode_launches, workspace_bytes
from tests.gpu.host_gpu import HostGpu
from tests.gpu.host_kernels import host_launch

Array = np.ndarray[Any, Any]


def array_at(address: int, shape: tuple[int, ...], dtype: str) -> Array:
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))
    return memory.view(np.dtype(dtype)).reshape(shape)


class HostEngine:
    """Implements `edged.gpu.protocols.Engine`.

    Args:
        gpu: whose streams it uses.
        model: the bundle's `model.onnx`.
        manifest: the bundle's.
        max_batch: of its profile.
        in_engine: ends in YoloLayer_TRT, else in the heads.
        half: float16 input and heads.
    """

    def __init__(
        self,
        gpu: HostGpu,
        model: bytes,
        manifest: Manifest,
        *,
        max_batch: int = 4,
        in_engine: bool = False,
        half: bool = False,
    ) -> None:
        self.gpu, self.in_engine = gpu, in_engine
        self.max_batch = max_batch
        self.closed = self.kept = False
        self.contexts = 0
        self.spoil: Array | None = None
        self.session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        self.float_type = "float16" if half else "float32"
        width, height = manifest.input_wh
        self.tensors: dict[str, TensorSpec] = {
            "images": TensorSpec((-1, 3, height, width), self.float_type, is_input=True)
        }
        if not isinstance(manifest.decode, GridDecode):
            (output,) = self.session.get_outputs()
            self.outputs: tuple[str, ...] = (output.name,)
            self.tensors[output.name] = TensorSpec((-1, *output.shape[1:]), "float32", is_input=False)
            return
        self.outputs = manifest.decode.outputs
        self.layer = yolo_layer(manifest, manifest.decode)
        self.sizes = tuple(cells_hw(manifest.input_wh, stride) for stride in self.layer.strides)
        self.cells = cell_count(self.layer, self.sizes)
        if in_engine:
            shapes = ((1,), (self.cells, 4), (self.cells,), (self.cells,))
            types = ("int32", "float32", "float32", "int32")
            for name, shape, dtype in zip(OUTPUTS, shapes, types, strict=True):
                self.tensors[name] = TensorSpec((-1, *shape), dtype, is_input=False)
        else:
            for name, size in zip(self.outputs, self.sizes, strict=True):
                self.tensors[name] = TensorSpec((-1, self.layer.channels, *size), self.float_type, is_input=False)

    def make_context(self, batch: int, stream: int) -> HostContext:  # noqa: ARG002 - the real one needs the stream
        self.contexts += 1
        return HostContext(self, batch)

    def keep_kernels(self) -> None:
        self.kept = True

    def close(self) -> None:
        self.closed = True


class HostContext:
    """Implements `edged.gpu.protocols.Context`."""

    can_be_captured = True

    def __init__(self, engine: HostEngine, batch: int) -> None:
        self._engine, self._batch = engine, batch
        self._addresses: Mapping[str, int] = {}

    def bind(self, addresses: Mapping[str, int]) -> None:
        if set(addresses) != set(self._engine.tensors):
            raise DetectorError("not every tensor has an address")
        self._addresses = dict(addresses)

    def enqueue(self, stream: int) -> None:
        self._engine.gpu.run("engine", stream, self._infer)

    def _infer(self) -> None:
        engine, batch = self._engine, self._batch
        images = array_at(self._addresses["images"], (batch, *engine.tensors["images"].shape[1:]), engine.float_type)
        heads = engine.session.run(list(engine.outputs), {"images": images.astype(np.float32)})
        if engine.spoil is not None:
            heads[-2 % len(heads)][:] = engine.spoil
        if engine.in_engine:
            self._decode([np.ascontiguousarray(head) for head in heads])
            return
        for name, head in zip(engine.outputs, heads, strict=True):
            array_at(self._addresses[name], head.shape, engine.tensors[name].dtype)[:] = head

    def _decode(self, heads: list[Array]) -> None:
        engine = self._engine
        workspace = np.empty(workspace_bytes(engine.layer, engine.sizes, self._batch), np.uint8)
        for launch in decode_launches(
            engine.layer,
            engine.sizes,
            batch=self._batch,
            heads=[head.ctypes.data for head in heads],
            outputs=DecodeOutputs(*(self._addresses[name] for name in OUTPUTS)),
            workspace=workspace.ctypes.data,
        ):
            host_launch(launch)
