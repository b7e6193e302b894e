"""Describes the two launches of the decode kernel, from shapes and addresses; does not touch a device."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plugins.yolo_layer.contract import MAX_ANCHORS, MAX_HEADS, YoloLayer
from plugins.yolo_layer.launch import Launch

SOURCE = Path(__file__).with_name("decode.cu")
_BLOCK = 256  # threads of a block; DECODE_BLOCK in decode.cu
_ALIGNMENT = 256  # bytes; each part of the workspace starts at a multiple


class DecodeHead(ctypes.Structure):
    """Mirrors `struct DecodeHead` in decode.cu, field by field: one feature map and its anchors."""

    _fields_ = (
        ("map", ctypes.c_void_p),
        ("rows", ctypes.c_int),
        ("cols", ctypes.c_int),
        ("stride", ctypes.c_int),
        ("first_cell", ctypes.c_int),
        ("anchors_wh", ctypes.c_float * (MAX_ANCHORS * 2)),
    )


class DecodeArgs(ctypes.Structure):
    """Mirrors `struct DecodeArgs` in decode.cu, field by field: all that both kernels are given."""

    _fields_ = (
        ("heads", DecodeHead * MAX_HEADS),
        ("count", ctypes.c_void_p),
        ("boxes", ctypes.c_void_p),
        ("scores", ctypes.c_void_p),
        ("classes", ctypes.c_void_p),
        ("cell_scores", ctypes.c_void_p),
        ("cell_classes", ctypes.c_void_p),
        ("block_counts", ctypes.c_void_p),
        ("live_threshold", ctypes.c_void_p),
        ("threshold", ctypes.c_float),
        ("cells", ctypes.c_int),
        ("anchors", ctypes.c_int),
        ("num_classes", ctypes.c_int),
        ("num_heads", ctypes.c_int),
    )


@dataclass(frozen=True, slots=True)
class DecodeOutputs:
    """Device addresses of the outputs; N is `cell_count`. Entries beyond an image's count are not written.

    Attributes:
        count: int32 (B,), boxes found in each image.
        boxes: float32 (B, N, 4), x1, y1, x2, y2 in network pixels, not clipped.
        scores: float32 (B, N), 0..1.
        classes: int32 (B, N), class ids.
    """

    count: int
    boxes: int
    scores: int
    classes: int


def cell_count(layer: YoloLayer, sizes: Sequence[tuple[int, int]]) -> int:
    """Most boxes of an image (N): one for each anchor of each cell. `sizes` are (rows, columns) of the heads."""
    return layer.anchors_per_head * sum(rows * cols for rows, cols in sizes)


def workspace_bytes(layer: YoloLayer, sizes: Sequence[tuple[int, int]], batch: int) -> int:
    """Bytes of device memory that the two launches share; free to be used for other things afterwards."""
    cells = cell_count(layer, sizes)
    return 2 * _aligned(batch * cells * 4) + _aligned(batch * _blocks(cells) * 4)


def decode_launches(
    layer: YoloLayer,
    sizes: Sequence[tuple[int, int]],
    *,
    batch: int,
    heads: Sequence[int],
    outputs: DecodeOutputs,
    workspace: int,
    half: bool = False,
    live_threshold: int = 0,
) -> tuple[Launch, Launch]:
    """The two launches that decode a batch. Put them on one stream in this order.

    Args:
        layer: the node's attributes.
        sizes: (rows, columns) of each head.
        batch: number of images.
        heads: device addresses of the maps, (batch, channels, rows, columns) each.
        outputs: where the results go.
        workspace: device address of a buffer of `workspace_bytes`, aligned to 4 bytes.
        half: the maps are float16; float32 otherwise.
        live_threshold: device address of one float32 to use in place of the layer's threshold; 0 for none.
    """
    cells = cell_count(layer, sizes)
    args = DecodeArgs(
        heads=_heads(layer, sizes, heads),
        count=outputs.count,
        boxes=outputs.boxes,
        scores=outputs.scores,
        classes=outputs.classes,
        cell_scores=workspace,
        cell_classes=workspace + _aligned(batch * cells * 4),
        block_counts=workspace + 2 * _aligned(batch * cells * 4),
        live_threshold=live_threshold,
        threshold=layer.threshold,
        cells=cells,
        anchors=layer.anchors_per_head,
        num_classes=layer.num_classes,
        num_heads=layer.heads,
    )
    grid, block, suffix = (_blocks(cells), batch, 1), (_BLOCK, 1, 1), "f16" if half else "f32"
    return Launch(f"decode_scores_{suffix}", grid, block, args), Launch(f"decode_write_{suffix}", grid, block, args)


def _heads(layer: YoloLayer, sizes: Sequence[tuple[int, int]], maps: Sequence[int]) -> ctypes.Array[DecodeHead]:
    heads, first = (DecodeHead * MAX_HEADS)(), 0
    for index, ((rows, cols), address, stride) in enumerate(zip(sizes, maps, layer.strides, strict=True)):
        anchors = layer.head_anchors(index)
        heads[index] = DecodeHead(address, rows, cols, stride, first, (ctypes.c_float * (MAX_ANCHORS * 2))(*anchors))
        first += layer.anchors_per_head * rows * cols
    return heads


def _blocks(cells: int) -> int:
    return -(-cells // _BLOCK)


def _aligned(nbytes: int) -> int:
    return -(-nbytes // _ALIGNMENT) * _ALIGNMENT
