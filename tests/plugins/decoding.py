"""Runs the decode kernel on the processor, and holds the outcome against the CPU's decode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edged.core.decode import GridDecode, cells_hw
from edged.cpu.decode import Decoder
from plugins.yolo_layer.contract import YoloLayer
from plugins.yolo_layer.kernel import DecodeOutputs, cell_count, decode_launches, workspace_bytes
from tests.gpu.ground import Ground, Processor

Array = np.ndarray[Any, Any]
# fmt: off
ANCHORS = (
    10.0, 13.0, 16.0, 30.0, 33.0, 23.0,
    30.0, 61.0, 62.0, 45.0, 59.0, 119.0,
    116.0, 90.0, 156.0, 198.0, 373.0, 326.0,
)
# fmt: on
POISON = 0x5A
PROCESSOR = Processor()


@dataclass(frozen=True)
class Decoded:
    """The kernel's outputs, and what it left untouched."""

    count: Array
    boxes: Array
    scores: Array
    classes: Array


def layer(
    *, classes: int = 3, threshold: float = 0.25, anchors: Sequence[float] = ANCHORS, heads: int = 3
) -> YoloLayer:
    """A node whose first head has stride 8."""
    return YoloLayer(4 << heads, classes, tuple(anchors), threshold, heads)


def random_heads(node: YoloLayer, sizes: Sequence[tuple[int, int]], *, batch: int, seed: int) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.random((batch, node.channels, *size), np.float32) for size in sizes]


def sizes_of(input_wh: tuple[int, int], heads: int = 3) -> tuple[tuple[int, int], ...]:
    return tuple(cells_hw(input_wh, 8 << head) for head in range(heads))


def run_decode(
    node: YoloLayer, heads: Sequence[Array], *, seed: int = 0, live: float | None = None, on: Ground = PROCESSOR
) -> Decoded:
    sizes = [(head.shape[2], head.shape[3]) for head in heads]
    batch, cells = heads[0].shape[0], cell_count(node, sizes)
    made = Decoded(
        on.array(np.full(batch, POISON, np.int32)),
        on.array(np.full((batch, cells, 4), POISON, np.float32)),
        on.array(np.full((batch, cells), POISON, np.float32)),
        on.array(np.full((batch, cells), POISON, np.int32)),
    )
    workspace = on.array(np.full(workspace_bytes(node, sizes, batch), POISON, np.uint8))
    live_threshold = on.array(np.array([0.0 if live is None else live], np.float32))
    contiguous = [on.array(head) for head in heads]
    for launch in decode_launches(
        node,
        sizes,
        batch=batch,
        heads=[head.ctypes.data for head in contiguous],
        outputs=DecodeOutputs(*(a.ctypes.data for a in (made.count, made.boxes, made.scores, made.classes))),
        workspace=workspace.ctypes.data,
        half=heads[0].dtype == np.float16,
        live_threshold=0 if live is None else live_threshold.ctypes.data,
    ):
        on.run(launch, seed=seed)
    return made


def require_equal_to_reference(node: YoloLayer, heads: Sequence[Array], got: Decoded) -> None:
    as_float = [head.astype(np.float32) for head in heads]
    strides = node.strides
    pairs = tuple(
        tuple(zip(node.head_anchors(k)[::2], node.head_anchors(k)[1::2], strict=True)) for k in range(node.heads)
    )
    decode = Decoder(GridDecode(pairs, strides))
    with np.errstate(all="ignore"):
        for image in range(heads[0].shape[0]):
            wanted = decode([head[image] for head in as_float], threshold=node.threshold)
            count = int(got.count[image])
            finite = np.isfinite(got.boxes[image, :count]).all(axis=1)  # the CPU drops the rest here, the GPU in NMS
            np.testing.assert_array_equal(got.scores[image, :count][finite], wanted.score)
            np.testing.assert_array_equal(got.classes[image, :count][finite], wanted.class_id)
            np.testing.assert_array_equal(got.boxes[image, :count][finite], wanted.xyxy)
