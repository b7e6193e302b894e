"""YOLOv5's loss: CIoU of boxes, objectness with that IoU as target, class probability; from its description.

CIoU: Zheng et al. 2020 (IoU with penalties for distance and aspect ratio). An object is learned by every anchor whose
sides are within a factor of its own, in the cell of its centre and in the nearest cells left or right, above or below.
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
_BALANCE = {3: (4.0, 1.0, 0.4)}  # weights of objectness by head: the fine head has most cells, smallest gradients
_REFERENCE_SIDE = 640
_HALF_CELL = 0.5


@dataclass(frozen=True, slots=True)
class LossGains:
    """Weights of the parts of the loss, for 640 pixels, 80 classes and three heads; they are scaled to the model.

    Attributes:
        box, objectness, classes: weights.
        classes_positive, objectness_positive: weights of positive targets within their part.
        anchor_ratio: an anchor learns an object if both sides differ by less than this factor, > 1.
        label_smoothing: 0..1, share of the class target that is spread over the classes.
        focal_gamma: 0 is plain cross-entropy; with more, easy cells count less (Lin et al. 2017).
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
    """M pairs of a cell of one head and the object that it learns.

    Attributes:
        image, anchor, row, column: (M,) int64, indices of the cell.
        box: (M, 4) float32, the object's centre relative to the cell, and its size; unit: cells.
        size: (M, 2) float32, width and height of the anchor; unit: cells.
        class_id: (M,) int64.
        sure: (M,) float32, 0..1, how sure it is that the object is there.
    """

    image: Tensor
    anchor: Tensor
    row: Tensor
    column: Tensor
    box: Tensor
    size: Tensor
    class_id: Tensor
    sure: Tensor


class LossSums(NamedTuple):
    """Sums of one head, each a scalar tensor: three parts of the loss, and what they are divided by.

    Attributes:
        box, objectness, classes: parts of the loss.
        matches: how sure the matched objects are, together: their number, where all are certain.
        cells: of the head.
    """

    box: Tensor
    objectness: Tensor
    classes: Tensor
    matches: Tensor
    cells: Tensor


def match_targets(targets: Tensor, *, anchors: Tensor, grid_wh: tuple[int, int], ratio: float) -> Matches:
    """Find the cells of a head that learn each object.

    Args:
        targets: (N, 7) float32: image index, class id, centre-x, centre-y, width, height as fractions of the input, and
            how sure it is that the object is there, 0..1.
        anchors: (A, 2) float32, width and height in cells.
        grid_wh: number of columns and rows.
        ratio: sides of anchor and object must differ by a smaller factor, > 1.
    """
    scale = targets.new_tensor([1, 1, *grid_wh, *grid_wh, 1])
    scaled = targets * scale  # (N, 7), in cells
    factors = scaled[None, :, 4:6] / anchors[:, None]  # (A, N, 2)
    fits = torch.maximum(factors, 1 / factors).amax(2) < ratio  # (A, N)
    anchor, index = fits.nonzero(as_tuple=True)
    picked = scaled[index]  # (K, 7)
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
        box=torch.cat((picked[:, 2:4] - cell, picked[:, 4:6]), 1),
        size=anchors[anchor],
        class_id=picked[:, 1].long(),
        sure=picked[:, 6],
    )


def ciou(a: Tensor, b: Tensor, *, epsilon: float = 1e-7) -> Tensor:
    """Complete IoU of M pairs of boxes.

    Args:
        a: (M, 4) float32, centre-x, centre-y, width, height.
        b: (M, 4) float32, the same.
        epsilon: avoids divisions by 0.

    Returns:
        (M,) at most 1; below 0 for boxes far apart.
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
        strides: network pixels per cell of each head.
        classes: number of classes.
        gains: weights of the parts.
    """

    def __init__(self, anchors: Tensor, strides: Sequence[int], *, classes: int, gains: LossGains) -> None:
        self._anchors = [sizes / stride for sizes, stride in zip(anchors, strides, strict=True)]
        self._strides = tuple(strides)
        self._classes = classes
        self._gains = gains
        self._balance = _BALANCE.get(len(self._strides), (1.0,) * len(self._strides))

    def head_sums(self, heads: Sequence[Tensor], targets: Tensor) -> list[LossSums]:
        """Sums of the parts of the loss, for each head.

        Args:
            heads: logits of each head, (B, A, H, W, 5+classes).
            targets: (N, 7) float32, as `match_targets` takes them.
        """
        return [self._sums(head.float(), targets, anchors) for head, anchors in zip(heads, self._anchors, strict=True)]

    def combine(self, sums: Sequence[LossSums], *, side: int) -> Tensor:
        """The weighted parts box, objectness, classes: (3,). Training minimises their sum times the batch size.

        Args:
            sums: from `head_sums`; the counts may be those of all processes.
            side: of the network's input, pixels.
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
        # If two objects share a cell, the better one counts; index_put would take either, not reproducibly.
        wanted.view(-1).scatter_reduce_(0, flat, overlap.detach().clamp(min=0) * found.sure, "amax")
        wanted_classes, positive = self._one_hot(found.class_id), self._gains.classes_positive
        return LossSums(
            box=((1 - overlap) * found.sure).sum(),
            objectness=self._cross_entropy(head[..., 4], wanted, self._gains.objectness_positive).sum(),
            classes=(self._cross_entropy(picked[:, 5:], wanted_classes, positive) * found.sure[:, None]).sum(),
            matches=found.sure.sum(),
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
        return loss


def sum_of(parts: object) -> Tensor:
    """The sum of an iterable of equally shaped tensors; mypy types that of `sum` as `Tensor | int`."""
    return torch.stack(tuple(parts)).sum(0)  # type: ignore[arg-type]
