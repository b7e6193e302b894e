from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from provisioning.data.check import CheckReport, check_dataset
from provisioning.data.labels import Severity
from provisioning.data.spec import read_spec
from tests.provisioning.data.pictures import encoded, noise_picture, write_dataset, write_picture
from tests.provisioning.data.test_pictures import claiming, with_orientation


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_dataset(
        tmp_path, {"train/a": "0 .5 .5 .5 .5\n1 .5 .5 1 .25", "train/b": "", "val/c": "0 .5 .5 .25 .5\n1 .3 .3 .1 .1"}
    )
    return tmp_path


def check(folder: Path) -> CheckReport:
    return check_dataset(read_spec(folder / "data.yaml"))


def kinds(report: CheckReport) -> list[tuple[str, str, Severity]]:
    return [(defect.path.name, defect.kind, defect.severity) for defect in report.defects]


def test_check_counts_a_sound_data_set(folder: Path) -> None:
    report = check(folder)
    train = report.splits["train"]
    assert report.defects == []
    assert (train.pictures, train.background, train.boxes) == (2, 1, 2)
    assert dict(train.boxes_by_class) == {0: 1, 1: 1}
    assert train.sizes_px == pytest.approx([(16 * 12) ** 0.5, (32 * 6) ** 0.5])  # pictures are 32x24


@pytest.mark.parametrize(
    ("name", "content", "kind", "severity"),
    [
        pytest.param("x.jpg", b"", "truncated picture", Severity.ERROR, id="empty file"),
        pytest.param("x.jpg", encoded(noise_picture(64, 64))[:2000], "truncated picture", Severity.ERROR, id="cut"),
        pytest.param(
            "x\ny.png", encoded(noise_picture(8, 8), ".png"), "unprintable name", Severity.ERROR, id="newline"
        ),
        pytest.param("x.png", claiming(60000, 60000), "huge picture", Severity.ERROR, id="huge"),
        pytest.param("x.png", b"GIF89a....", "unreadable picture", Severity.ERROR, id="other format"),
        pytest.param(
            "x.jpg",
            encoded(noise_picture(9, 9, seed=9), ".png"),
            "mislabelled picture",
            Severity.WARNING,
            id="PNG as .jpg",
        ),
        pytest.param(
            "x.jpg",
            with_orientation(encoded(noise_picture(9, 9, seed=9)), 6),
            "EXIF rotation",
            Severity.WARNING,
            id="turned",
        ),
    ],
)
def test_check_reports_a_bad_picture(folder: Path, name: str, content: bytes, kind: str, severity: Severity) -> None:
    (folder / "images" / "train" / name).write_bytes(content)
    report = check(folder)
    assert kinds(report) == [(name, kind, severity)]
    assert report.errors == (severity is Severity.ERROR)


def test_check_reports_labels_without_picture(folder: Path) -> None:
    (folder / "labels" / "train" / "gone.txt").write_text("0 .5 .5 .1 .1")
    (folder / "labels" / "train" / "classes.txt").write_text("a")
    assert kinds(check(folder)) == [("gone.txt", "labels without picture", Severity.WARNING)]


def test_check_reports_label_lines(folder: Path) -> None:
    (folder / "labels" / "val" / "c.txt").write_text("0 .5 .5 .1 .1\n5 .5 .5 .1 .1\n1 .5 .5 .1 .1")
    [defect] = check(folder).defects
    assert (defect.path.name, defect.line, defect.kind) == ("c.txt", 2, "class id out of range")


def test_check_reports_an_empty_split(folder: Path) -> None:
    (folder / "images" / "val" / "c.png").unlink()
    shutil.rmtree(folder / "labels" / "val")
    assert [defect.kind for defect in check(folder).defects] == ["empty split"]


def test_check_reports_a_class_that_is_never_labelled(folder: Path) -> None:
    (folder / "labels" / "val" / "c.txt").write_text("0 .5 .5 .1 .1")
    [defect] = check(folder).defects
    assert (defect.kind, defect.severity) == ("class without object", Severity.NOTE)


def test_check_reports_a_val_picture_that_is_trained_on(folder: Path) -> None:
    shutil.copy(folder / "images" / "train" / "a.png", folder / "images" / "val" / "c.png")
    [defect] = check(folder).defects
    assert defect.kind == "duplicate picture"
    assert "of train" in defect.message


def test_check_goes_on_after_a_defect(folder: Path) -> None:
    for number in range(3):
        write_picture(folder / "images" / "train" / f"x{number}.png", seed=50 + number)
        (folder / "labels" / "train" / f"x{number}.txt").write_text("9 0 0 0 0")
    report = check(folder)
    assert report.errors == 3
    assert report.to_plain()["splits"]["train"]["pictures"] == 5


def test_check_does_not_call_a_picture_background_whose_labels_are_defective(folder: Path) -> None:
    (folder / "labels" / "train" / "a.txt").write_text("0 .5 .5 .1\n")
    assert check(folder).splits["train"].background == 1  # b alone


def test_check_names_a_picture_that_is_damaged_within(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content = bytearray(encoded(noise_picture(128, 128)))
    content[2000:4000] = bytes(2000)
    (folder / "images" / "train" / "x.jpg").write_bytes(content)
    [defect] = check(folder).defects
    assert (defect.path.name, defect.kind, defect.severity) == ("x.jpg", "damaged picture", Severity.WARNING)
    assert "its decoder says: Corrupt JPEG data" in defect.message
    assert "Corrupt" not in capfd.readouterr().err  # told once, with the file
