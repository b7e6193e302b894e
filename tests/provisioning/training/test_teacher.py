"""A teacher's boxes join the labels of what is trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edged.core.bundle import Bundle
from edged.core.errors import UsageError
from edged.core.types import Floats, Pixels
from provisioning.training.teacher import Teacher
from tests.handmade import draw_square, write_bundle
from tests.provisioning.data.pictures import write_dataset
from tests.provisioning.training.runs import resumed, settings, train, trainer

SIDE = 160
GREEN = [0, 1, 72 / SIDE, 56 / SIDE, 64 / SIDE, 64 / SIDE]  # place, class, centre and size of the first square below
RED = [1, 2, 56 / SIDE, 72 / SIDE, 64 / SIDE, 64 / SIDE]
NAMES = ("nothing", "green", "red")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Sees red, green and blue squares."""
    return write_bundle(tmp_path / "squares", input_wh=(SIDE, SIDE))


def pictures() -> Pixels:
    drawn = np.zeros((2, SIDE, SIDE, 3), np.uint8)
    draw_square(drawn[0], "green", 40, 24)
    draw_square(drawn[1], "red", 24, 40)
    return drawn


def targets(*rows: list[float]) -> Floats:
    return np.array([[*row, 1.0] for row in rows], np.float32).reshape(-1, 7)


def taught(bundle: Path, labels: Floats, names: tuple[str, ...] = NAMES) -> Floats:
    found = Teacher(Bundle.open(bundle), names)(pictures(), labels)
    assert found.dtype == np.float32
    return found


def test_what_only_the_teacher_sees_is_as_sure_as_its_score(bundle: Path) -> None:
    found = taught(bundle, targets())
    np.testing.assert_allclose(found[:, :6], [GREEN, RED], atol=1e-3)
    assert ((found[:, 6] > 0.9) & (found[:, 6] < 1)).all()


def test_what_both_name_is_certain_and_has_the_teachers_box(bundle: Path) -> None:
    loose = [*GREEN[:4], 0.5, 0.45]
    found = taught(bundle, targets(loose))
    np.testing.assert_allclose(found[:, :6], [GREEN, RED], atol=1e-3)
    assert found[0, 6] == 1 > found[1, 6]


def test_what_only_a_label_names_stays(bundle: Path) -> None:
    elsewhere, other = [0, 1, 0.9, 0.9, 0.1, 0.1], [1, 0, *RED[2:]]  # another place; another class at the same place
    found = taught(bundle, targets(elsewhere, other))
    np.testing.assert_allclose(found[:, :6], [GREEN, elsewhere, RED, other], atol=1e-3)
    assert found[[1, 3], 6].tolist() == [1, 1]


def test_classes_that_only_one_of_them_knows(bundle: Path) -> None:
    found = taught(bundle, targets(), names=("red",))
    np.testing.assert_allclose(found[:, :6], [[1, 0, *RED[2:]]], atol=1e-3)
    with pytest.raises(UsageError, match="squares knows none of the classes cat, dog; it knows red, green, blue"):
        Teacher(Bundle.open(bundle), ("cat", "dog"))


def test_a_picture_of_another_size_is_scaled_for_it(bundle: Path) -> None:
    small = np.stack([each[::2, ::2] for each in pictures()])
    found = Teacher(Bundle.open(bundle), NAMES)(np.ascontiguousarray(small), targets())
    np.testing.assert_allclose(found[:, :6], [GREEN, RED], atol=0.02)


def test_a_run_with_a_teacher_learns_and_can_only_be_resumed_with_it(bundle: Path, tmp_path: Path) -> None:
    labels = {f"{split}/p{number}": "0 .5 .5 .4 .5" for split in ("train", "val") for number in range(4)}
    data = write_dataset(tmp_path / "data", labels, names="[red, blue]")
    train(settings(data, tmp_path / "run", teacher=bundle, epochs=1))
    other = settings(data, tmp_path / "run", epochs=1)
    with pytest.raises(UsageError, match=r"the interrupted run had other settings .*teacher"):
        trainer(resumed(other))
