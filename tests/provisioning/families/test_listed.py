"""Detectors that give finished boxes: their outputs become rows, exactly, with preprocessing in front."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from edged.core.decode import ListDecode
from edged.core.errors import DataError, UsageError
from edged.core.types import Floats
from edged.cpu.session import open_session
from provisioning.cut.graph import image_input, read_onnx
from provisioning.families.listed import SIZES, import_listed, listed_graph
from provisioning.families.pixels import KNOWN
from provisioning.families.recognised import Recognised, coco_91_names
from tests.provisioning.families.detectors import Backbone
from tests.provisioning.yolo_exports import exported

WH = (96, 64)
NAMES = ("cat", "dog", "owl")
OBJECTS = 20


class Queries(nn.Module):
    """A few boxes for the whole picture: (B, OBJECTS, 4) centre and size in fractions, (B, OBJECTS, classes) logits."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(4)
            self.backbone = Backbone()
            self.boxes, self.classes = nn.Linear(16 * 2 * 3, OBJECTS * 4), nn.Linear(16 * 2 * 3, OBJECTS * classes)
            nn.init.normal_(self.classes.weight, std=0.5)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        flat = self.backbone(images)[-1].flatten(1)
        return self.boxes(flat).view(-1, OBJECTS, 4).sigmoid(), self.classes(flat).view(-1, OBJECTS, self.count)

    @property
    def count(self) -> int:
        return self.classes.out_features // OBJECTS


def corners(boxes: Tensor, sides: Tensor) -> Tensor:
    return torch.cat((boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2), -1) * sides


class EndToEnd(Queries):
    """YOLOv10 and 26: (B, N, 6), corners in pixels, score, class; the best first."""

    def forward(self, images: Tensor) -> Tensor:  # type: ignore[override]
        boxes, logits = super().forward(images)
        scores, labels = logits.sigmoid().max(-1)
        best = scores.topk(OBJECTS // 2, dim=1)
        index = best.indices.unsqueeze(-1)
        sides = torch.tensor([*WH, *WH]).float()
        chosen = corners(boxes, sides).gather(1, index.expand(-1, -1, 4))
        return torch.cat((chosen, best.values.unsqueeze(-1), labels.unsqueeze(-1).gather(1, index).float()), -1)


class Finished(Queries):
    """RT-DETR, D-FINE, DEIM: labels, boxes in pixels of the sizes given, scores."""

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        boxes, logits = super().forward(images)
        scores, labels = logits.sigmoid().max(-1)
        return labels, corners(boxes, sizes.repeat(1, 2).unsqueeze(1).float()), scores


class Squeezed(Finished):
    """The same, exported for one picture without the axis of the batch: DEIMv2 as some publish it."""

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        labels, boxes, scores = super().forward(images, sizes)
        (labels,), (scores,) = torch.split(labels, 1), torch.split(scores, 1)
        return labels.squeeze(0), boxes.squeeze(0), scores.squeeze(0)


def export(module: nn.Module, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> bytes:
    return exported(module, input_wh=WH, opset=17, outputs=outputs, sizes=WH if SIZES in inputs else None)


def imported(content: bytes, names: tuple[str, ...] = NAMES) -> Recognised:
    model = read_onnx(content)
    graph = listed_graph(model)
    assert graph is not None
    return import_listed(graph, image_input(model, besides={SIZES}), input_wh=WH, names=names)


def rows_of(made: Recognised, images: Floats) -> Floats:
    session = open_session(made.onnx, threads=1, where="the model")
    assert [node.name for node in session.get_inputs()] == ["images"]
    [rows] = session.run(["rows"], {"images": images})
    return np.asarray(rows)


def closed_form(module: Queries, images: Floats, pixels: str) -> list[list[tuple[list[float], float, int]]]:
    """Boxes, score and class of each picture, one number at a time, from what the queries give."""
    wanted = next(each for each in KNOWN if each.name == pixels).of(images)
    with torch.no_grad():
        boxes, logits = Queries.forward(module.eval(), torch.from_numpy(wanted))
    found = []
    for picture in range(len(images)):
        rows = []
        for (cx, cy, w, h), row in zip(boxes[picture].tolist(), logits[picture].tolist(), strict=True):
            number = max(range(len(row)), key=row.__getitem__)
            box = [(cx - w / 2) * WH[0], (cy - h / 2) * WH[1], (cx + w / 2) * WH[0], (cy + h / 2) * WH[1]]
            rows.append((box, 1 / (1 + np.exp(-row[number])), number))
        found.append(rows)
    return found


@pytest.mark.parametrize(
    ("module", "inputs", "outputs", "family", "pixels"),
    [
        pytest.param(EndToEnd(3), (), ("output0",), "end-to-end", "rgb", id="end to end"),
        pytest.param(Finished(3), (SIZES,), ("labels", "boxes", "scores"), "detr", "rgb", id="finished"),
        pytest.param(Squeezed(3), (SIZES,), ("labels", "boxes", "scores"), "detr", "rgb", id="finished, no batch"),
        pytest.param(Queries(3), (), ("dets", "labels"), "rf-detr", "rgb-imagenet", id="logits"),
        pytest.param(Queries(3), (), ("pred_boxes", "logits"), "rf-detr", "rgb-imagenet", id="logits by other names"),
    ],
)
def test_rows_are_what_the_original_gives(
    module: Queries, inputs: tuple[str, ...], outputs: tuple[str, ...], family: str, pixels: str
) -> None:
    made = imported(export(module, inputs, outputs))
    assert (made.decode, made.architecture, made.facts["pixels"]) == (ListDecode(family), family, pixels)
    images = np.random.default_rng(6).random((2, 3, WH[1], WH[0]), np.float32)
    for given, rows in zip(rows_of(made, images), closed_form(module, images, pixels), strict=True):
        wanted = sorted(rows, key=lambda row: -row[1])[: len(given)]
        got = given[np.argsort(-given[:, 4], kind="stable")]
        np.testing.assert_allclose(got[:, :4], [box for box, _, _ in wanted], atol=1e-3)
        np.testing.assert_allclose(got[:, 4], [score for _, score, _ in wanted], atol=1e-5)
        assert got[:, 5].tolist() == [number for _, _, number in wanted]


class Mixing(EndToEnd):
    """What it sees in a picture depends on the first one of the batch."""

    def forward(self, images: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(images - images[:1] / 2)


def test_a_network_that_mixes_pictures_is_refused() -> None:
    with pytest.raises(DataError, match=r"in a batch, boxes of one picture show up in another; export it again"):
        imported(export(Mixing(3), (), ("output0",)))


def test_classes_without_a_name_are_refused() -> None:
    with pytest.raises(DataError, match=r"it gives class ids 0 to 2, but 2 classes have a name"):
        imported(export(EndToEnd(3), (), ("output0",)), names=("cat", "dog"))
    with pytest.raises(UsageError, match="give --names FILE with 91 names, one a line, or --names coco91"):
        imported(export(Queries(91), (), ("dets", "labels")), names=())
    assert len(imported(export(Queries(91), (), ("dets", "labels")), names=coco_91_names()).names) == 91


def test_coco_by_its_own_numbers() -> None:
    names = coco_91_names()
    assert (names[1], names[13], names[44], names[90]) == ("person", "stop sign", "bottle", "toothbrush")


def test_a_table_of_one_class_is_no_list() -> None:
    """YOLOv5 of one class gives (B, N, 6), too."""
    from tests.provisioning.networks import short
    from tests.provisioning.yolo_exports import WithDecode

    assert listed_graph(onnx.load_model_from_string(exported(WithDecode(short(classes=1))))) is None
