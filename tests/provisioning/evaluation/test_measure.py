from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edged.core.errors import BundleMismatch, DataError, UsageError
from provisioning.__main__ import main
from provisioning.data.rendered import render_dataset
from provisioning.evaluation.measure import MeasureSettings, measure
from provisioning.model.network import build
from provisioning.model.torch_checkpoint import checkpoint_of, save_checkpoint
from tests.provisioning.data.pictures import write_dataset

SIDE = 64


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    render_dataset(folder, train=0, val=5, seed=3)
    return folder / "data.yaml"


def write_model(folder: Path, names: tuple[str, ...]) -> Path:
    net = build("n", classes=len(names))
    save_checkpoint(folder / "model.pt", checkpoint_of(net, names=names))
    return folder / "model.pt"


def test_val_prints_the_table_and_writes_everything(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_model(tmp_path, ("person",))
    report, plots = tmp_path / "report.json", tmp_path / "plots"
    arguments = ["val", "--data", str(data), "--model", str(model), "--size", str(SIDE), "--json", str(report)]
    assert main([*arguments, "--plots", str(plots)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["class", "images", "instances", "P", "R", "mAP50", "mAP50-95"]
    assert [line.split()[0] for line in lines[1:3]] == ["all", "person"]
    content = json.loads(report.read_text())
    assert content["images"] == 5
    assert content["classes"]["person"]["instances"] == content["instances"] > 0
    assert np.array(content["confusion"]["found_by_labelled"]).shape == (2, 2)
    names = {"pr_curve", "f1_curve", "p_curve", "r_curve", "confusion_matrix", "labels", "val_1"}
    assert {path.stem for path in plots.iterdir()} == names
    for path in plots.iterdir():
        picture = cv2.imread(str(path))
        assert picture is not None
        assert picture.std() > 1


def test_val_says_what_it_leaves_out_and_that_polygons_are_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = {"val/a": "0 .1 .1 .6 .1 .6 .6", "val/b": "0 .5 .5 .2 .2", "val/c": "0 .5 .5 .2 .2"}
    file = write_dataset(tmp_path, lines, names="[person]")
    (tmp_path / "images" / "val" / "c.png").write_bytes(b"no picture")
    model = write_model(tmp_path, ("person",))
    command = ["val", "--data", str(file), "--model", str(model), "--size", str(SIDE), "--skip-bad"]
    assert main([*command, "--polygons"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["all", "2", "2"]
    assert "1 pictures that are unreadable or have defective labels are left out" in caplog.text
    assert "the boxes around 1 polygons are taken" in caplog.text


def test_val_takes_classes_by_name(data: Path, tmp_path: Path) -> None:
    one = measure(MeasureSettings(data, write_model(tmp_path, ("person",)), side=SIDE))
    more = measure(MeasureSettings(data, write_model(tmp_path, ("dog", "person", "cat")), side=SIDE))
    assert one.result.evaluation.names == more.result.evaluation.names == ("person",)
    assert more.result.evaluation.instances == one.result.evaluation.instances


def test_val_refuses_a_model_of_other_classes(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not know the data set's classes person \(it knows dog\)"):
        measure(MeasureSettings(data, write_model(tmp_path, ("dog",)), side=SIDE))


def test_val_refuses_what_is_no_model(data: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleMismatch, match=r"neither a \.pt file nor a bundle"):
        measure(MeasureSettings(data, tmp_path / "nothing"))
    (tmp_path / "dir").mkdir()
    with pytest.raises((BundleMismatch, DataError)):
        measure(MeasureSettings(data, tmp_path / "dir"))


@pytest.mark.parametrize("change", [{"side": 100}, {"confidence": 1.5}, {"iou": 0.0}, {"batch_size": 0}])
def test_val_refuses_impossible_settings(data: Path, change: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        measure(MeasureSettings(data, data, **change))  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("side", "map50", "map50_95"),
    [pytest.param(640, 0.5511, 0.3558, id="640"), pytest.param(320, 0.4685, 0.2974, id="320")],
)
def test_val_agrees_with_the_published_weights(test_data: Path, side: int, map50: float, map50_95: float) -> None:
    """pycocotools on the boxes of YOLOv5's own code, yolov5n of release 7.0, coco128, square letterbox."""
    data = test_data / "datasets" / "coco128" / "data.yaml"
    result = measure(MeasureSettings(data, test_data / "weights" / "yolov5n.pt", side=side)).result.evaluation
    assert result.map50 == pytest.approx(map50, abs=0.005)
    assert result.map50_95 == pytest.approx(map50_95, abs=0.005)
