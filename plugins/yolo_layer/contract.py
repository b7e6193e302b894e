"""The `YoloLayer_TRT` node's names and attributes: what provisioning writes, the plugin reads and the kernel needs."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from edged.core.decode import GridDecode

OPERATOR = "YoloLayer_TRT"
VERSION = "1"
NAMESPACE = "edged"  # our own: other projects have plugins named YoloLayer_TRT, version 1, too
USUAL_HEADS = 3  # of a node that does not say how many
MAX_HEADS = 4  # as in decode.cu, like the next
MAX_ANCHORS = 8  # per head
OUTPUTS = ("DecodeNumDetection", "DecodeDetectionBoxes", "DecodeDetectionScores", "DecodeDetectionClasses")


@dataclass(frozen=True, slots=True)
class YoloLayer:
    """The attributes of one node, checked when it is made.

    Attributes:
        max_stride: side of a cell of the last head in network pixels; the head before it has a half of it, and so on.
        num_classes: classes of the model, 1 or more.
        anchors: (width, height) pairs in network pixels as one flat tuple: those of p3, of p4 and so on.
        threshold: `prenms_score_threshold`, 0..1 (1 excluded); only boxes with a higher score are reported.
        heads: number of inputs, 1 to 4.
    """

    max_stride: int
    num_classes: int
    anchors: tuple[float, ...]
    threshold: float
    heads: int = USUAL_HEADS

    def __post_init__(self) -> None:
        if not 1 <= self.heads <= MAX_HEADS:
            raise ValueError(f"num_heads must be 1 to {MAX_HEADS}, got {self.heads}")
        pairs = len(self.anchors) // (2 * self.heads)
        if len(self.anchors) != pairs * 2 * self.heads or not 1 <= pairs <= MAX_ANCHORS:
            raise ValueError(
                f"anchors must be {self.heads} heads of 1 to {MAX_ANCHORS} (width, height) pairs, "
                f"got {len(self.anchors)} numbers"
            )
        if not all(isfinite(side) and side > 0 for side in self.anchors):
            raise ValueError(f"anchors must be positive numbers, got {self.anchors}")
        least = 1 << (self.heads - 1)
        if self.max_stride < least or self.max_stride % least:
            raise ValueError(f"max_stride must be a multiple of {least}, got {self.max_stride}")
        if self.num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {self.num_classes}")
        if not 0 <= self.threshold < 1:
            raise ValueError(f"prenms_score_threshold must be in 0..1, got {self.threshold}")

    @classmethod
    def of(cls, decode: GridDecode, *, classes: int, threshold: float) -> YoloLayer:
        """The attributes for a model.

        Args:
            decode: anchors and strides of its heads.
            classes: number of classes.
            threshold: only boxes with a higher score are reported.

        Raises:
            ValueError: the node cannot decode such heads (number, strides or anchors), or a value is out of range.
        """
        flat = tuple(float(side) for head in decode.anchors for anchor in head for side in anchor)
        if len(decode.strides) > MAX_HEADS:
            raise ValueError(f"{OPERATOR} decodes {MAX_HEADS} heads, this model has strides {list(decode.strides)}")
        layer = cls(decode.strides[-1], classes, flat, float(threshold), len(decode.strides))
        if layer.strides != decode.strides:
            raise ValueError(f"{OPERATOR} decodes strides {list(layer.strides)}, this model has {list(decode.strides)}")
        return layer

    @property
    def anchors_per_head(self) -> int:
        """Anchors of each grid cell, the same for every head."""
        return len(self.anchors) // (2 * self.heads)

    @property
    def channels(self) -> int:
        """Channels of every head: anchors * (5 + classes)."""
        return self.anchors_per_head * (5 + self.num_classes)

    @property
    def strides(self) -> tuple[int, ...]:
        """Side of a grid cell in network pixels, for each head."""
        return tuple(self.max_stride >> (self.heads - 1 - head) for head in range(self.heads))

    def head_anchors(self, head: int) -> tuple[float, ...]:
        """(width, height) pairs of one head (0 is p3) as one flat tuple, network pixels."""
        length = 2 * self.anchors_per_head
        return self.anchors[head * length : (head + 1) * length]
