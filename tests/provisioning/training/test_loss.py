from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from provisioning.model.description import COCO_ANCHORS, STRIDES
from provisioning.training.loss import DetectionLoss, LossGains, ciou, match_targets


def scalar_ciou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Written from the paper's equations, one pair at a time."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = a, b
    overlap_w = min(ax + aw / 2, bx + bw / 2) - max(ax - aw / 2, bx - bw / 2)
    overlap_h = min(ay + ah / 2, by + bh / 2) - max(ay - ah / 2, by - bh / 2)
    overlap = max(overlap_w, 0) * max(overlap_h, 0)
    iou = overlap / (aw * ah + bw * bh - overlap)
    hull_w = max(ax + aw / 2, bx + bw / 2) - min(ax - aw / 2, bx - bw / 2)
    hull_h = max(ay + ah / 2, by + bh / 2) - min(ay - ah / 2, by - bh / 2)
    distance = ((ax - bx) ** 2 + (ay - by) ** 2) / (hull_w**2 + hull_h**2)
    v = 4 / math.pi**2 * (math.atan(bw / bh) - math.atan(aw / ah)) ** 2
    alpha = v / (1 - iou + v) if v else 0.0
    return iou - distance - alpha * v


@pytest.mark.parametrize(
    ("a", "b"),
    [
        pytest.param((5, 5, 4, 4), (5, 5, 4, 4), id="same"),
        pytest.param((5, 5, 4, 2), (6, 5.5, 3, 6), id="overlapping"),
        pytest.param((1, 1, 1, 2), (9, 9, 3, 1), id="apart"),
        pytest.param((5, 5, 8, 8), (5, 5, 1, 2), id="inside"),
    ],
)
def test_ciou_follows_the_paper(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    found = ciou(torch.tensor([a], dtype=torch.float32), torch.tensor([b], dtype=torch.float32))
    assert found.tolist() == pytest.approx([scalar_ciou(a, b)], abs=1e-5)


def plain_matches(targets: Tensor, anchors: Tensor, grid_wh: tuple[int, int], ratio: float) -> set[tuple[int, ...]]:
    """(image, anchor, row, column, target) by loops over everything, from the description."""
    found: set[tuple[int, ...]] = set()
    width, height = grid_wh
    for number, (image, _, x, y, w, h, _sure) in enumerate(targets.tolist()):
        x, y, w, h = x * width, y * height, w * width, h * height  # noqa: PLW2901
        for place, (anchor_w, anchor_h) in enumerate(anchors.tolist()):
            if max(w / anchor_w, anchor_w / w, h / anchor_h, anchor_h / h) >= ratio:
                continue
            cells = {(int(x), int(y))}
            cells.add((int(x) + (-1 if x % 1 < 0.5 else 1), int(y)))
            cells.add((int(x), int(y) + (-1 if y % 1 < 0.5 else 1)))
            for column, row in cells:
                if 0 <= column < width and 0 <= row < height:
                    found.add((int(image), place, row, column, number))
    return found


def random_targets(count: int, *, images: int = 3, classes: int = 2, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(images, (count, 1), generator=generator)
    class_id = torch.randint(classes, (count, 1), generator=generator)
    centre = torch.rand((count, 2), generator=generator) * 0.98 + 0.01
    size = torch.rand((count, 2), generator=generator) * 0.5 + 0.02
    return torch.cat((image, class_id, centre, size, torch.ones(count, 1)), 1)


@pytest.mark.parametrize("seed", range(5))
def test_match_targets_finds_what_loops_find(seed: int) -> None:
    targets = random_targets(40, seed=seed)
    anchors = torch.tensor([[1.0, 1.5], [3.0, 2.0], [6.0, 7.0]])
    grid_wh = (10, 8)
    found = match_targets(targets, anchors=anchors, grid_wh=grid_wh, ratio=4.0)
    rows = zip(*(column.tolist() for column in (found.image, found.anchor, found.row, found.column)), strict=True)
    scale = torch.tensor([*grid_wh, *grid_wh])
    absolute = found.box + torch.stack((found.column, found.row, *[torch.zeros_like(found.row)] * 2), 1)
    distances = (absolute[:, None] - (targets[:, 2:6] * scale)[None]).abs().amax(2)
    which = distances.argmin(1)
    assert distances.amin(1).max() < 1e-4
    assert {(*row, number) for row, number in zip(rows, which.tolist(), strict=True)} == plain_matches(
        targets, anchors, grid_wh, 4.0
    )
    assert torch.equal(found.class_id, targets[which, 1].long())
    assert torch.equal(found.size, anchors[found.anchor])


def test_match_targets_of_nothing_is_empty() -> None:
    found = match_targets(torch.zeros((0, 7)), anchors=torch.ones((3, 2)), grid_wh=(4, 4), ratio=4.0)
    assert len(found.image) == 0
    assert found.box.shape == (0, 4)


def make_loss(classes: int = 2, gains: LossGains | None = None) -> DetectionLoss:
    return DetectionLoss(torch.tensor(COCO_ANCHORS), STRIDES, classes=classes, gains=gains or LossGains())


def random_heads(classes: int = 2, side: int = 64, *, images: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = [(images, 3, side // stride, side // stride, 5 + classes) for stride in STRIDES]
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]


def test_loss_is_small_where_the_answer_is_right() -> None:
    """Heads that say exactly what the targets ask for; one object, on the coarse head's anchor."""
    loss, heads = make_loss(), [torch.full_like(head, -12.0) for head in random_heads()]
    targets = torch.tensor([[0, 1, 0.5, 0.5, 116 / 64, 90 / 64, 1]])
    found = match_targets(targets, anchors=torch.tensor(COCO_ANCHORS[2]) / 32, grid_wh=(2, 2), ratio=4.0)
    right = found.anchor == 0
    assert right.any()
    place = (found.image[right], found.anchor[right], found.row[right], found.column[right])
    answer = torch.full((int(right.sum()), 7), 12.0)
    answer[:, :2] = torch.logit(((found.box[right, :2] + 0.5) / 2).clamp(1e-3, 1 - 1e-3))
    answer[:, 2:4] = 0.0  # (2 * 0.5) ** 2 = 1: the anchor itself
    answer[:, 5] = -12.0
    heads[2].index_put_(place, answer)
    sums = loss.head_sums(heads, targets)[2]
    others = int((~right).sum())
    assert float(sums.box) <= others * 2 + 0.02 * int(right.sum())
    wrong = loss.head_sums([torch.zeros_like(head) for head in heads], targets)[2]
    assert float(sums.objectness) < float(wrong.objectness)


def test_loss_ignores_the_order_of_objects() -> None:
    """Two objects may want one cell: the better one counts, whichever comes first."""
    targets = random_targets(30)
    heads = random_heads()
    values = []
    for order in (torch.arange(30), torch.arange(29, -1, -1), torch.randperm(30)):
        loss = make_loss()
        values.append(loss.combine(loss.head_sums(heads, targets[order]), side=64))
    for first, second in itertools.pairwise(values):
        torch.testing.assert_close(first, second)


def test_loss_of_background_is_objectness_alone() -> None:
    loss = make_loss()
    parts = loss.combine(loss.head_sums(random_heads(), torch.zeros((0, 7))), side=64)
    assert parts[0] == 0
    assert parts[1] > 0
    assert parts[2] == 0


def test_loss_of_shares_with_common_counts_adds_up_to_the_whole() -> None:
    """What several processes compute: own sums over everyone's counts."""
    loss, heads, targets = make_loss(), random_heads(), random_targets(20)
    whole = loss.head_sums(heads, targets)
    parts = torch.zeros(3)
    for image in range(3):
        mine = targets[targets[:, 0] == image].clone()
        mine[:, 0] = 0
        sums = loss.head_sums([head[image : image + 1] for head in heads], mine)
        shared = [each._replace(matches=all_.matches, cells=all_.cells) for each, all_ in zip(sums, whole, strict=True)]
        parts = parts + loss.combine(shared, side=64)
    torch.testing.assert_close(parts, loss.combine(whole, side=64))


def test_loss_has_finite_gradients_for_extreme_logits() -> None:
    heads = [(head.detach() * 60).requires_grad_() for head in random_heads()]
    loss = make_loss(gains=LossGains(focal_gamma=1.5, label_smoothing=0.1))
    total = loss.combine(loss.head_sums(heads, random_targets(20)), side=64).sum()
    torch.autograd.backward([total])
    for head in heads:
        assert head.grad is not None
        assert torch.isfinite(head.grad).all()


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def cross_entropy(logit: float, wanted: float) -> float:
    return -wanted * math.log(sigmoid(logit)) - (1 - wanted) * math.log(1 - sigmoid(logit))


def plain_parts(heads: list[Tensor], targets: Tensor, *, side: int, classes: int) -> list[float]:
    """Box, objectness and class parts by loops over cells and matches, from the description."""
    totals = [0.0, 0.0, 0.0]
    for head, stride, sizes, balance in zip(heads, STRIDES, COCO_ANCHORS, (4.0, 1.0, 0.4), strict=True):
        anchors = torch.tensor(sizes) / stride
        rows, columns = head.shape[2:4]
        table = head.tolist()
        matches = plain_matches(targets, anchors, (columns, rows), 4.0)
        certainty = sum(targets[number][6].item() for *_, number in matches)
        wanted: dict[tuple[int, ...], float] = {}
        box, entropy = 0.0, 0.0
        for image, anchor, row, column, number in matches:
            logits = table[image][anchor][row][column]
            x, y, w, h = (2 * sigmoid(value) for value in logits[:4])
            anchor_w, anchor_h = anchors[anchor].tolist()
            _, class_id, *fractions, sure = targets[number].tolist()
            true = [value * size for value, size in zip(fractions, (columns, rows) * 2, strict=True)]
            found = (x - 0.5 + column, y - 0.5 + row, w * w * anchor_w, h * h * anchor_h)
            overlap = scalar_ciou(found, tuple(true))
            box += sure * (1 - overlap) / max(certainty, 1)
            place = (image, anchor, row, column)
            wanted[place] = max(wanted.get(place, 0.0), sure * overlap, 0.0)
            hits = [float(number == class_id) for number in range(classes)]
            entropy += sure * sum(map(cross_entropy, logits[5:], hits)) / (max(certainty, 1) * classes)
        cells = list(itertools.product(*map(range, head.shape[:4])))
        objectness = sum(cross_entropy(table[b][a][r][c][4], wanted.get((b, a, r, c), 0.0)) for b, a, r, c in cells)
        totals[0] += 0.05 * box
        totals[1] += (side / 640) ** 2 * balance * objectness / len(cells)
        totals[2] += 0.5 * classes / 80 * entropy
    return totals


@pytest.mark.parametrize("least_sure", [1.0, 0.2], ids=["certain", "not certain"])
def test_loss_is_what_the_description_says(least_sure: float) -> None:
    targets = random_targets(24)
    targets[12:, 2:6] = targets[:12, 2:6] + 0.004  # pairs that want the same cells
    targets[:, 6] = torch.linspace(least_sure, 1, 24)
    targets[12:, 0] = targets[:12, 0]
    heads = random_heads()
    loss = make_loss()
    parts = loss.combine(loss.head_sums(heads, targets), side=64)
    assert parts.tolist() == pytest.approx(plain_parts(heads, targets, side=64, classes=2), rel=1e-4)
