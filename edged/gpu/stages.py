"""Launches of the kernels around the engine: preprocessing before it, NMS or the choice of rows after it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edged.core.limits import MAX_CANDIDATES
from edged.gpu.layout import Header, NmsArgs, PreprocessArgs, Results, RowsArgs, aligned
from plugins.yolo_layer.kernel import DecodeOutputs
from plugins.yolo_layer.launch import Launch

KERNEL_DIRECTORY = Path(__file__).with_name("kernels")
PREPROCESS = KERNEL_DIRECTORY / "preprocess.cu"
NMS = KERNEL_DIRECTORY / "nms.cu"
ROWS_SOURCE = KERNEL_DIRECTORY / "rows.cu"
_TILE_WH = (32, 8)  # threads of a preprocessing block: a warp along a row of pixels
_ADMIT_BLOCK, _RANK_BLOCK = 1024, 256  # ADMIT_BLOCK and RANK_BLOCK of nms.cu
_GREEDY_BLOCK = 512
_ROWS_BLOCK = 256  # ROWS_BLOCK of rows.cu


@dataclass(frozen=True, slots=True)
class NmsMemory:
    """Layout of NMS's workspace, as offsets; the first `ranked_bytes` must be zero before each run.

    Attributes:
        max_batch: images.
        listed_cells: candidates per image whose admitted ones are listed before they are ranked. 0 where the decode
            itself filters by the confidence in force: nearly all would be listed, at the cost of a launch.
    """

    max_batch: int
    listed_cells: int

    @property
    def ranked_bytes(self) -> int:
        """Length of the part at offset 0 that must be zero."""
        return self.max_batch * 4

    @property
    def boxes(self) -> int:
        """Offset of (max_batch, MAX_CANDIDATES, 4) float32."""
        return aligned(self.ranked_bytes)

    @property
    def scores(self) -> int:
        """Offset of (max_batch, MAX_CANDIDATES) float32."""
        return self.boxes + self.max_batch * MAX_CANDIDATES * 16

    @property
    def classes(self) -> int:
        """Offset of (max_batch, MAX_CANDIDATES) int32."""
        return self.scores + self.max_batch * MAX_CANDIDATES * 4

    @property
    def listed_count(self) -> int:
        """Offset of (max_batch,) int32."""
        return self.classes + self.max_batch * MAX_CANDIDATES * 4

    @property
    def listed(self) -> int:
        """Offset of (max_batch, listed_cells) int32."""
        return self.listed_count + self.max_batch * 4

    @property
    def nbytes(self) -> int:
        """Size of the workspace, bytes."""
        return self.listed + self.max_batch * self.listed_cells * 4


def preprocess_launch(
    *, frames: int, network_input: int, network_wh: tuple[int, int], batch: int, half: bool, nv12: bool = False
) -> Launch:
    """The launch that turns frames of one layout into the network's input; it leaves the places of others alone.

    Args:
        frames: device address of the frame table.
        network_input: device address of (batch, 3, H, W), float16 if `half`, else float32.
        network_wh: its width and height.
        batch: images.
        half: whether the input is float16.
        nv12: take the NV12 frames of the batch, not those of BGR.
    """
    width, height = network_wh
    grid = (-(-width // _TILE_WH[0]), -(-height // _TILE_WH[1]), batch)
    args = PreprocessArgs(frames=frames, input=network_input, network_w=width, network_h=height)
    kernel = f"preprocess{'_nv12' * nv12}_{'f16' if half else 'f32'}"
    return Launch(kernel, grid, (*_TILE_WH, 1), args)


def nms_launches(
    *,
    candidates: DecodeOutputs,
    cells: int,
    header: tuple[Header, int],
    workspace: tuple[NmsMemory, int],
    results: tuple[Results, int],
    batch: int,
) -> tuple[Launch, ...]:
    """The launches that turn candidates into detections in frame pixels; for one stream, in this order.

    Args:
        candidates: device addresses of the decode's outputs.
        cells: candidates per image.
        header: limits, admitted classes and frame table, and the device address of that block.
        workspace: its layout, with `listed_cells` of `cells` or 0, and device address.
        results: their layout and device address.
        batch: images.
    """
    (parts, block), (memory, base), (layout, out) = header, workspace, results
    args = NmsArgs(
        limits=block,
        frames=block + parts.frames,
        count=candidates.count,
        boxes=candidates.boxes,
        scores=candidates.scores,
        classes=candidates.classes,
        admitted=block + parts.admitted,
        listed_count=base + memory.listed_count,
        listed=base + memory.listed if memory.listed_cells else 0,
        ranked=base,
        ranked_boxes=base + memory.boxes,
        ranked_scores=base + memory.scores,
        ranked_classes=base + memory.classes,
        found_count=out,
        found=out + layout.found,
        cells=cells,
        num_classes=parts.num_classes,
        capacity=layout.capacity,
    )
    admit = Launch("nms_admit", (batch, 1, 1), (_ADMIT_BLOCK, 1, 1), args)
    rank = Launch("nms_rank", (-(-cells // _RANK_BLOCK), batch, 1), (_RANK_BLOCK, 1, 1), args)
    greedy = Launch("nms_greedy", (batch, 1, 1), (_GREEDY_BLOCK, 1, 1), args)
    return (admit, rank, greedy) if memory.listed_cells else (rank, greedy)


def rows_launch(
    *, rows: int, count: int, header: tuple[Header, int], results: tuple[Results, int], batch: int
) -> Launch:
    """The launch that turns finished boxes into detections in frame pixels.

    Args:
        rows: device address of (batch, count, 6) float32, as `ListDecode` says.
        count: rows per image.
        header: limits, admitted classes and frame table, and the device address of that block.
        results: their layout and device address.
        batch: images.
    """
    (parts, block), (layout, out) = header, results
    args = RowsArgs(
        limits=block,
        frames=block + parts.frames,
        rows=rows,
        admitted=block + parts.admitted,
        found_count=out,
        found=out + layout.found,
        count=count,
        num_classes=parts.num_classes,
        capacity=layout.capacity,
    )
    return Launch("rows_pick", (-(-count // _ROWS_BLOCK), batch, 1), (_ROWS_BLOCK, 1, 1), args)
