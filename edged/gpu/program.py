"""The stages of one batch size on one stream, and the device memory that all batch sizes share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edged.gpu.layout import Header, Results
from edged.gpu.model import HEAD_NAMES, EngineModel
from edged.gpu.protocols import Engine, Gpu
from edged.gpu.stages import NmsMemory, nms_launches, preprocess_launch
from plugins.yolo_layer.contract import OUTPUTS
from plugins.yolo_layer.kernel import DecodeOutputs, decode_launches, workspace_bytes
from plugins.yolo_layer.launch import Launch

STAGES = ("preprocess", "inference", "decode", "nms")


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Device addresses of fixed buffers, sized for the largest batch and shared: batches run one after the other.

    Attributes:
        header: limits, admitted classes and frame table of the batch that runs (layout: `Header`).
        tensors: the engine's inputs and outputs by name.
        candidates: outputs of the decode; the engine's own where it contains the decode.
        decode_workspace: 0 where the engine contains the decode.
        nms_workspace: scratch memory of NMS (layout: `NmsMemory`).
        results: counts and detections (layout: `Results`).
    """

    header: int
    tensors: dict[str, int]
    candidates: DecodeOutputs
    decode_workspace: int
    nms_workspace: int
    results: int

    @classmethod
    def allocate(cls, gpu: Gpu, engine: Engine, model: EngineModel, header: Header, results: Results) -> DeviceMemory:
        """Allocate the buffers; they are freed when the device is closed."""
        batch = header.max_batch
        tensors = {
            name: gpu.allocate(batch * math.prod(spec.shape[1:]) * np.dtype(spec.dtype).itemsize)
            for name, spec in engine.tensors.items()
        }
        workspace = 0
        if model.in_engine:
            candidates = DecodeOutputs(*(tensors[name] for name in OUTPUTS))
        else:
            candidates = DecodeOutputs(*(gpu.allocate(batch * cell * 4) for cell in _candidate_words(model.cells)))
            workspace = gpu.allocate(workspace_bytes(model.layer, model.head_sizes, batch))
        return cls(
            header=gpu.allocate(header.nbytes),
            tensors=tensors,
            candidates=candidates,
            decode_workspace=workspace,
            nms_workspace=gpu.allocate(_nms_memory(model, header).nbytes),
            results=gpu.allocate(results.nbytes(batch, results.capacity)),
        )


def _candidate_words(cells: int) -> tuple[int, int, int, int]:
    """Four-byte words per image of count, boxes, scores, classes."""
    return 1, cells * 4, cells, cells


class Program:
    """All stages of one batch size, from frames to detections.

    Args:
        gpu: the device.
        engine: makes a context for this batch size.
        model: the engine's contract.
        memory: shared with the programs of other batch sizes.
        header: layout of `memory.header`.
        results: layout of `memory.results`.
        batch: images.
        stream: the context is set up on it.
    """

    def __init__(
        self,
        gpu: Gpu,
        engine: Engine,
        model: EngineModel,
        memory: DeviceMemory,
        *,
        header: Header,
        results: Results,
        batch: int,
        stream: int,
    ) -> None:
        self._gpu = gpu
        nms_memory = _nms_memory(model, header)
        preprocess = preprocess_launch(
            frames=memory.header + header.frames,
            network_input=memory.tensors[model.input_name],
            network_wh=model.input_wh,
            batch=batch,
            half=model.half_input,
        )
        suppress = nms_launches(
            candidates=memory.candidates,
            cells=model.cells,
            header=(header, memory.header),
            workspace=(nms_memory, memory.nms_workspace),
            results=(results, memory.results),
            batch=batch,
        )
        context = engine.make_context(batch, stream)
        context.bind(memory.tensors)
        self._context = context
        decode = () if model.in_engine else _decode(model, memory, batch)
        self.stages: dict[str, tuple[Callable[[int], None], ...]] = {
            "preprocess": self._launching(preprocess),
            "inference": (context.enqueue,),
            "decode": self._launching(*decode),
            "nms": (
                lambda stream: gpu.fill_zero(memory.nms_workspace, nms_memory.ranked_bytes, stream),
                *self._launching(*suppress),
            ),
        }

    @property
    def can_be_captured(self) -> bool:
        """Whether a CUDA graph can hold it. Valid after a first run, in which TensorRT selects its kernels."""
        return self._context.can_be_captured

    def enqueue(self, stream: int) -> None:
        """Put all stages on the stream, in order."""
        for stage in STAGES:
            for step in self.stages[stage]:
                step(stream)

    def _launching(self, *launches: Launch) -> tuple[Callable[[int], None], ...]:
        def step(launch: Launch) -> Callable[[int], None]:
            return lambda stream: self._gpu.launch(launch, stream)

        return tuple(step(launch) for launch in launches)


def _nms_memory(model: EngineModel, header: Header) -> NmsMemory:
    """Layout of NMS's workspace; lists candidates first where the engine's decode has a low fixed threshold."""
    return NmsMemory(header.max_batch, model.cells if model.in_engine else 0)


def _decode(model: EngineModel, memory: DeviceMemory, batch: int) -> tuple[Launch, ...]:
    return decode_launches(
        model.layer,
        model.head_sizes,
        batch=batch,
        heads=[memory.tensors[name] for name in HEAD_NAMES],
        outputs=memory.candidates,
        workspace=memory.decode_workspace,
        half=model.half_heads,
        live_threshold=memory.header,  # the limits' first field is the confidence in force
    )
