"""YOLOv5's loss: box CIoU, objectness whose target is that IoU, class probability; written from its description.

CIoU: Zheng et al. 2020 (distance and aspect ratio beside the overlap). Targets: every anchor whose sides are within a
factor of the object's, in the cell of its centre and in the two nearest neighbouring cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce

_COCO_CLASSES = 80
_BALANCE = {3: (4.0, 1.0, 0.4)}  # objectness by stride: the fine head has most cells and smallest gradients
_REFERENCE_SIDE = 640
_HALF_CELL = 0.5


@dataclass(frozen=True, slots=True)
class LossGains:
    """Weights of the parts, for 640 pixels, 80 classes and three heads; scaled to the model at hand.

    Attributes:
        box, objectness, classes: weights.
        classes_positive, objectness_positive: weights of the positive cases within their part.
        anchor_ratio: an anchor learns an object when no side differs by more than this factor.
        label_smoothing: 0..1.
        focal_gamma: 0 is plain cross-entropy; above, easy cells count less (Lin et al. 2017).
    """

    box: float = 0.05
    objectness: float = 1.0
    classes: float = 0.5
    classes_positive: float = 1.0
    objectness_positive: float = 1.0
    anchor_ratio: float = 4.0
    label_smoothing: float = 0.0
    focal_gamma: float = 0.0


class Matches(NamedTuple):
    """Cells of one head that learn an object; M matches.

    Attributes:
        image, anchor, row, column: (M,) int64, the cell.
        box: (M, 4) float32, the object's centre relative to the cell and its size, in cells.
        size: (M, 2) float32, the anchor, in cells.
        class_id: (M,) int64.
    """

    image: Tensor
    anchor: Tensor
    row: Tensor
    column: Tensor
    box: Tensor
    size: Tensor
    class_id: Tensor


class LossSums(NamedTuple):
    """The parts of the loss of one head, not yet divided; what is counted, is counted over all ranks."""

    box: Tensor
    objectness: Tensor
    classes: Tensor
    matches: Tensor
    cells: Tensor


def match_targets(targets: Tensor, *, anchors: Tensor, grid_wh: tuple[int, int], ratio: float) -> Matches:
    """Which cells of a head learn which objects.

    Args:
        targets: (N, 6) float32: image, class, centre-x, centre-y, width, height in 0..1.
        anchors: (A, 2) float32, in cells.
        grid_wh: cells across and down.
        ratio: the largest factor between the sides of anchor and object.
    """
    scale = targets.new_tensor([1, 1, *grid_wh, *grid_wh])
    scaled = targets * scale  # (N, 6), in cells
    factors = scaled[None, :, 4:] / anchors[:, None]  # (A, N, 2)
    fits = torch.maximum(factors, 1 / factors).amax(2) < ratio  # (A, N)
    anchor, index = fits.nonzero(as_tuple=True)
    picked = scaled[index]  # (K, 6)
    limit = targets.new_tensor(grid_wh)
    centre, mirrored = picked[:, 2:4], limit - picked[:, 2:4]
    near = (centre % 1 < _HALF_CELL) & (centre > 1)  # (K, 2): the left and the upper neighbour are nearest
    far = (mirrored % 1 < _HALF_CELL) & (mirrored > 1)  # the right and the lower one
    chosen = torch.stack((torch.ones_like(near[:, 0]), near[:, 0], near[:, 1], far[:, 0], far[:, 1]))  # (5, K)
    shifts = targets.new_tensor([[0, 0], [-1, 0], [0, -1], [1, 0], [0, 1]])
    which, place = chosen.nonzero(as_tuple=True)
    cell = (centre[place].floor() + shifts[which]).clamp(min=targets.new_zeros(2), max=limit - 1)  # (M, 2)
    picked, anchor = picked[place], anchor[place]
    return Matches(
        image=picked[:, 0].long(),
        anchor=anchor,
        row=cell[:, 1].long(),
        column=cell[:, 0].long(),
        box=torch.cat((picked[:, 2:4] - cell, picked[:, 4:]), 1),
        size=anchors[anchor],
        class_id=picked[:, 1].long(),
    )


def ciou(a: Tensor, b: Tensor, *, epsilon: float = 1e-7) -> Tensor:
    """Complete IoU of pairs.

    Args:
        a: (M, 4) float32, centre-x, centre-y, width, height.
        b: (M, 4), the same.
        epsilon: keeps divisions finite.

    Returns:
        (M,) at most 1, below 0 for boxes far apart.
    """
    a1, a2 = a[:, :2] - a[:, 2:] / 2, a[:, :2] + a[:, 2:] / 2
    b1, b2 = b[:, :2] - b[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2
    overlap = (torch.minimum(a2, b2) - torch.maximum(a1, b1)).clamp(min=0).prod(1)
    iou = overlap / (a[:, 2:].prod(1) + b[:, 2:].prod(1) - overlap + epsilon)
    hull = torch.maximum(a2, b2) - torch.minimum(a1, b1)
    distance = (a[:, :2] - b[:, :2]).square().sum(1) / (hull.square().sum(1) + epsilon)
    angle = torch.atan(b[:, 2] / (b[:, 3] + epsilon)) - torch.atan(a[:, 2] / (a[:, 3] + epsilon))
    aspect = (4 / math.pi**2) * angle.square()
    with torch.no_grad():
        weight = aspect / (aspect - iou + (1 + epsilon))
    return iou - distance - weight * aspect


class DetectionLoss:
    """The loss of a batch.

    Args:
        anchors: (heads, A, 2) float32, network pixels.
        strides: network pixels a cell, a head.
        classes: how many.
        gains: weights of the parts.
    """

    def __init__(self, anchors: Tensor, strides: Sequence[int], *, classes: int, gains: LossGains) -> None:
        self._anchors = [sizes / stride for sizes, stride in zip(anchors, strides, strict=True)]
        self._strides = tuple(strides)
        self._classes = classes
        self._gains = gains
        self._balance = _BALANCE.get(len(self._strides), (1.0,) * len(self._strides))

    def head_sums(self, heads: Sequence[Tensor], targets: Tensor) -> list[LossSums]:
        """Sums of the parts, a head.

        Args:
            heads: (B, A, H, W, 5+classes) logits, a head.
            targets: (N, 6) float32, see `match_targets`.
        """
        return [self._sums(head.float(), targets, anchors) for head, anchors in zip(heads, self._anchors, strict=True)]

    def combine(self, sums: Sequence[LossSums], *, side: int) -> Tensor:
        """The weighted parts box, objectness, classes: (3,); their sum times the batch size is what is minimised.

        `sums` may be those of one rank with counts of all ranks.
        """
        gains, heads = self._gains, len(self._strides)
        box = sum_of(part.box / part.matches.clamp(min=1) for part in sums)
        objectness = sum_of(
            weight * part.objectness / part.cells for weight, part in zip(self._balance, sums, strict=True)
        )
        classes = sum_of(part.classes / (part.matches.clamp(min=1) * self._classes) for part in sums)
        by_heads = 3 / heads
        return torch.stack(
            (
                gains.box * by_heads * box,
                gains.objectness * (side / _REFERENCE_SIDE) ** 2 * by_heads * objectness,
                gains.classes * self._classes / _COCO_CLASSES * by_heads * classes,
            )
        )

    def _sums(self, head: Tensor, targets: Tensor, anchors: Tensor) -> LossSums:
        grid_wh = head.shape[3], head.shape[2]
        found = match_targets(targets, anchors=anchors, grid_wh=grid_wh, ratio=self._gains.anchor_ratio)
        picked = head[found.image, found.anchor, found.row, found.column]  # (M, 5 + C)
        soft = picked[:, :4].sigmoid() * 2
        overlap = ciou(torch.cat((soft[:, :2] - 0.5, soft[:, 2:].square() * found.size), 1), found.box)
        wanted = head.new_zeros(head.shape[:4])
        place = (found.image, found.anchor, found.row, found.column)
        flat = sum_of(index * stride for index, stride in zip(place, wanted.stride(), strict=True))
        # The better of two objects in one cell counts, whatever their order: index_put would leave it to chance.
        wanted.view(-1).scatter_reduce_(0, flat, overlap.detach().clamp(min=0), "amax")
        return LossSums(
            box=(1 - overlap).sum(),
            objectness=self._cross_entropy(head[..., 4], wanted, self._gains.objectness_positive),
            classes=self._cross_entropy(picked[:, 5:], self._one_hot(found.class_id), self._gains.classes_positive),
            matches=head.new_tensor(len(picked)),
            cells=head.new_tensor(wanted.numel()),
        )

    def _one_hot(self, class_id: Tensor) -> Tensor:
        """(M,) -> (M, classes) float32, smoothed."""
        smooth = self._gains.label_smoothing
        table = torch.full((len(class_id), self._classes), smooth / 2, device=class_id.device)
        table[torch.arange(len(class_id), device=class_id.device), class_id] = 1 - smooth / 2
        return table

    def _cross_entropy(self, logits: Tensor, wanted: Tensor, positive: float) -> Tensor:
        loss = bce(logits, wanted, pos_weight=logits.new_tensor([positive]), reduction="none")
        if self._gains.focal_gamma:
            probability = logits.sigmoid()
            hit = wanted * probability + (1 - wanted) * (1 - probability)
            alpha = wanted * 0.25 + (1 - wanted) * 0.75
            loss = loss * alpha * (1 - hit) ** self._gains.focal_gamma
        return loss.sum()


def sum_of(parts: object) -> Tensor:
    """The sum of tensors, which the builtin types as `Tensor | int`."""
    return torch.stack(tuple(parts)).sum(0)  # type: ignore[arg-type]
