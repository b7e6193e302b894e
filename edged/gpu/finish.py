"""What stands behind the engine: decode and NMS of heads, or the choice among finished rows; memory and launches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from edged.core.decode import ROWS
from edged.gpu.layout import Header, Results
from edged.gpu.model import HeadOutputs, RowOutputs
from edged.gpu.protocols import Gpu
from edged.gpu.stages import NmsMemory, nms_launches, rows_launch
from plugins.yolo_layer.contract import OUTPUTS
from plugins.yolo_layer.kernel import DecodeOutputs, decode_launches, workspace_bytes
from plugins.yolo_layer.launch import Launch

Step = Callable[[int], None]  # puts work on the stream with this handle


class Finish(Protocol):
    """Turns an engine's outputs into results. Its buffers are sized for the largest batch; the device frees them."""

    def steps(self, batch: int) -> Mapping[str, tuple[Step, ...]]:
        """The steps of the stages `decode` and `nms` for a batch size; either may be empty."""
        ...


def finish_of(
    gpu: Gpu,
    outputs: HeadOutputs | RowOutputs,
    tensors: Mapping[str, int],
    *,
    header: tuple[Header, int],
    results: tuple[Results, int],
) -> Finish:
    """Allocate what stands behind an engine.

    Args:
        gpu: the device.
        outputs: what the engine gives.
        tensors: device addresses of its tensors by name.
        header: layout and device address of limits, admitted classes and frame table.
        results: layout and device address of counts and detections.
    """
    match outputs:
        case HeadOutputs():
            return _HeadFinish(gpu, outputs, tensors, header, results)
        case RowOutputs():
            return _RowFinish(gpu, tensors[ROWS], outputs.count, header, results)


def steps_of(gpu: Gpu, *launches: Launch) -> tuple[Step, ...]:
    """The launches as steps."""

    def step(launch: Launch) -> Step:
        return lambda stream: gpu.launch(launch, stream)

    return tuple(step(launch) for launch in launches)


class _HeadFinish:
    """Decode, unless the engine contains it, and NMS."""

    def __init__(
        self,
        gpu: Gpu,
        outputs: HeadOutputs,
        tensors: Mapping[str, int],
        header: tuple[Header, int],
        results: tuple[Results, int],
    ) -> None:
        self._gpu, self._outputs, self._header, self._results = gpu, outputs, header, results
        most = header[0].max_batch
        self._heads, self._decode_workspace = list[int](), 0
        if outputs.in_engine:
            self._candidates = DecodeOutputs(*(tensors[name] for name in OUTPUTS))
        else:
            # Four-byte words of count, boxes, scores and classes.
            words = (1, outputs.cells * 4, outputs.cells, outputs.cells)
            self._candidates = DecodeOutputs(*(gpu.allocate(most * each * 4) for each in words))
            self._decode_workspace = gpu.allocate(workspace_bytes(outputs.layer, outputs.head_sizes, most))
            self._heads = [tensors[name] for name in outputs.head_names]
        # The engine's decode has a low fixed threshold: what passes the one in force is listed first.
        self._layout = NmsMemory(most, outputs.cells if outputs.in_engine else 0)
        self._workspace = gpu.allocate(self._layout.nbytes)

    def steps(self, batch: int) -> Mapping[str, tuple[Step, ...]]:
        suppress = nms_launches(
            candidates=self._candidates,
            cells=self._outputs.cells,
            header=self._header,
            workspace=(self._layout, self._workspace),
            results=self._results,
            batch=batch,
        )
        return {
            "decode": () if self._outputs.in_engine else steps_of(self._gpu, *self._decode(batch)),
            "nms": (
                lambda stream: self._gpu.fill_zero(self._workspace, self._layout.ranked_bytes, stream),
                *steps_of(self._gpu, *suppress),
            ),
        }

    def _decode(self, batch: int) -> tuple[Launch, ...]:
        return decode_launches(
            self._outputs.layer,
            self._outputs.head_sizes,
            batch=batch,
            heads=self._heads,
            outputs=self._candidates,
            workspace=self._decode_workspace,
            half=self._outputs.half,
            live_threshold=self._header[1],  # the limits' first field is the confidence in force
        )


class _RowFinish:
    """One launch in place of decode and NMS; it needs no memory of its own."""

    def __init__(
        self, gpu: Gpu, rows: int, count: int, header: tuple[Header, int], results: tuple[Results, int]
    ) -> None:
        self._gpu, self._rows, self._count, self._header, self._results = gpu, rows, count, header, results

    def steps(self, batch: int) -> Mapping[str, tuple[Step, ...]]:
        pick = rows_launch(rows=self._rows, count=self._count, header=self._header, results=self._results, batch=batch)
        return {"decode": steps_of(self._gpu, pick), "nms": ()}
