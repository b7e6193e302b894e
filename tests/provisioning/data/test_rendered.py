from __future__ import annotations

from pathlib import Path

import pytest

from edged.core.errors import EdgedError
from provisioning.data.check import check_dataset
from provisioning.data.labels import Severity
from provisioning.data.rendered import render_dataset
from provisioning.data.spec import read_spec


def test_render_dataset_passes_the_check(tmp_path: Path) -> None:
    render_dataset(tmp_path, train=4, val=2, seed=0)
    report = check_dataset(read_spec(tmp_path / "data.yaml"))
    assert [defect for defect in report.defects if defect.severity is not Severity.NOTE] == []
    assert {split: counts.pictures for split, counts in report.splits.items()} == {"train": 4, "val": 2}
    assert report.splits["train"].boxes > 0


def test_render_dataset_repeats_itself(tmp_path: Path) -> None:
    for name in ("a", "b"):
        render_dataset(tmp_path / name, train=2, val=0, seed=5)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 5
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_render_dataset_names_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgedError, match="cannot be written"):
        render_dataset(tmp_path / "file", train=1, val=0, seed=0)
