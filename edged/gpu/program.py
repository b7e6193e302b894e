"""The stages of one batch size on one stream, and the device memory that all batch sizes share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edged.gpu.finish import Finish, Step, finish_of, steps_of
from edged.gpu.layout import Header, Results
from edged.gpu.model import EngineModel
from edged.gpu.protocols import Engine, Gpu
from edged.gpu.stages import preprocess_launch

STAGES = ("preprocess", "inference", "decode", "nms")


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Device addresses of fixed buffers, sized for the largest batch and shared: batches run one after the other.

    Attributes:
        header: limits, admitted classes and frame table of the batch that runs (layout: `Header`).
        tensors: the engine's inputs and outputs by name.
        results: counts and detections (layout: `Results`).
        finish: the stages behind the engine, with buffers of their own.
    """

    header: int
    tensors: dict[str, int]
    results: int
    finish: Finish

    @classmethod
    def allocate(cls, gpu: Gpu, engine: Engine, model: EngineModel, header: Header, results: Results) -> DeviceMemory:
        """Allocate the buffers; they are freed when the device is closed."""
        batch = header.max_batch
        tensors = {
            name: gpu.allocate(batch * math.prod(spec.shape[1:]) * np.dtype(spec.dtype).itemsize)
            for name, spec in engine.tensors.items()
        }
        block, out = gpu.allocate(header.nbytes), gpu.allocate(results.nbytes(batch, results.capacity))
        finish = finish_of(gpu, model.outputs, tensors, header=(header, block), results=(results, out))
        return cls(header=block, tensors=tensors, results=out, finish=finish)


class Program:
    """All stages of one batch size, from frames to detections.

    Args:
        gpu: the device.
        engine: makes a context for this batch size.
        model: the engine's contract.
        memory: shared with the programs of other batch sizes.
        header: layout of `memory.header`.
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
        batch: int,
        stream: int,
    ) -> None:
        preprocess = preprocess_launch(
            frames=memory.header + header.frames,
            network_input=memory.tensors[model.input_name],
            network_wh=model.input_wh,
            batch=batch,
            half=model.half_input,
        )
        finish = memory.finish.steps(batch)
        context = engine.make_context(batch, stream)
        context.bind(memory.tensors)
        self._context = context
        self.stages: dict[str, tuple[Step, ...]] = {
            "preprocess": steps_of(gpu, preprocess),
            "inference": (context.enqueue,),
            **finish,
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
