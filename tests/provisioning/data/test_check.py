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
    for name in ("classes.txt", "train.txt", "._a.txt"):
        (folder / "labels" / "train" / name).write_text("a")
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


@pytest.mark.parametrize("train", ["images/val", "images"])
def test_check_reports_a_val_that_lies_in_train_once(folder: Path, train: str) -> None:
    """A line for each picture would hide what else is wrong."""
    (folder / "data.yaml").write_text(f"train: {train}\nval: images/val\nnames: [a, b]\n")
    [defect] = check(folder).defects
    assert (defect.kind, defect.severity) == ("shared pictures", Severity.WARNING)
    message = f"1 of 1 pictures of val are those of train, the first {folder}/images/val/c.png: the evaluation would"
    assert defect.message.startswith(message)


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


def test_check_refuses_a_split_without_a_box(folder: Path) -> None:
    shutil.move(folder / "labels", folder / "exported")
    report = check(folder)
    assert [(defect.kind, defect.severity) for defect in report.defects] == [("no box", Severity.ERROR)] * 2
    assert f"1 .txt files of these names lie in {folder}/exported/train" in str(report.defects[0])
    assert f"1 .txt files of these names lie in {folder}/exported/val" in str(report.defects[1])
    assert not report.ready


def test_check_is_ready_only_with_all_that_a_training_needs(folder: Path) -> None:
    assert check(folder).ready
    (folder / "data.yaml").write_text("train: images/train\nnames: [a, b]\n")
    report = check(folder)
    assert (report.errors, report.ready, report.missing) == (0, False, ("val",))


def test_check_counts_polygons_and_says_that_boxes_are_taken(folder: Path) -> None:
    (folder / "labels" / "val" / "c.txt").write_text("0 .2 .2 .4 .2 .4 .4\n1 .5 .5 .1 .1")
    assert [defect.kind for defect in check(folder).defects] == ["wrong number of fields", "class without object"]
    report = check_dataset(read_spec(folder), polygons=True)
    assert [(defect.kind, defect.severity) for defect in report.defects] == [("polygons", Severity.NOTE)]
    assert (report.splits["val"].polygons, report.splits["val"].boxes) == (1, 2)


def test_check_reports_pictures_that_share_their_labels(folder: Path) -> None:
    write_picture(folder / "images" / "train" / "a.jpg", seed=60)
    [defect] = check(folder).defects
    assert (defect.kind, defect.severity) == ("shared labels", Severity.WARNING)


def test_check_of_lists_in_one_folder_takes_no_list_for_labels_and_no_split_for_strays(tmp_path: Path) -> None:
    for seed, name in enumerate(("p0", "p1")):
        write_picture(tmp_path / f"{name}.jpg", seed=seed)
        (tmp_path / f"{name}.txt").write_text("0 .5 .5 .2 .2\n")
    (tmp_path / "train.txt").write_text("data/p0.jpg\n")
    (tmp_path / "valid.txt").write_text("data/p1.jpg\n")
    (tmp_path / "obj.names").write_text("a\n")
    (tmp_path / "obj.data").write_text("train = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\n")
    report = check_dataset(read_spec(tmp_path))
    assert (report.defects, report.ready) == ([], True)


def test_check_reports_a_listed_picture_that_does_not_exist_once(folder: Path) -> None:
    (folder / "train.txt").write_text("images/train/a.png\nimages/train/gone.png\n")
    (folder / "data.yaml").write_text("train: train.txt\nval: images/val\nnames: [a, b]\n")
    assert ("gone.png", "missing picture", Severity.ERROR) in kinds(check(folder))
    assert check(folder).errors == 1


def test_check_goes_on_where_labels_without_picture_are_a_dead_link(folder: Path) -> None:
    (folder / "labels" / "train" / "gone.txt").symlink_to(folder / "nothing.txt")
    assert [defect.kind for defect in check(folder).defects] == ["labels without picture"]


@pytest.mark.parametrize("test", ["images/test", "images/unlabelled"], ids=["missing", "without labels"])
def test_check_is_ready_without_a_test_split_that_can_be_used(folder: Path, test: str) -> None:
    """Roboflow names one that it does not export; of a competition the labels are secret. No training needs it."""
    write_picture(folder / "images" / "unlabelled" / "z.png", seed=99)
    (folder / "data.yaml").write_text(f"train: images/train\nval: images/val\ntest: {test}\nnames: [a, b]\n")
    report = check(folder)
    [defect] = [defect for defect in report.defects if defect.severity is not Severity.NOTE]
    assert (report.ready, defect.severity) == (True, Severity.WARNING)
    assert f"{folder}/{test}" in str(defect) or "test holds no box" in str(defect)


@pytest.mark.parametrize(
    ("name", "kinds"), [("a\u202fPM.png", []), ("a\u3000b.png", []), ("a\nb.png", ["unprintable name"])]
)
def test_check_takes_names_with_spaces_of_any_script(folder: Path, name: str, kinds: list[str]) -> None:
    """macOS writes U+202F into the names of its screenshots."""
    write_picture(folder / "images" / "train" / name, seed=99)
    assert [defect.kind for defect in check(folder).defects] == kinds


@pytest.mark.parametrize("name", ["{}.TXT", "{}.png.txt"])
def test_check_finds_labels_by_other_names_for_a_split_as_for_a_picture(folder: Path, name: str) -> None:
    for path in (folder / "labels").rglob("*.txt"):
        path.rename(path.with_name(name.format(path.stem)))
    told = [str(defect) for defect in check(folder).defects if defect.severity is Severity.ERROR]
    assert f"but lie as {folder}/labels/train/{name.format('a')}" in told[0]
    assert f"1 .txt files of these names lie in {folder}/labels/train" in told[1]
