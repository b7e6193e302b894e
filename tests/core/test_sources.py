"""What a source's text says: every part that must tell a path from a camera goes by the same words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edged.bench.scenario import resolved
from edged.core.sources import ACCEPTED, PREFIXES, SCHEMES, is_path, misspelt
from edged.demo.run import _config
from edged.oneshot.sources import expand
from provisioning.frames.sample import sample

NO_PATHS = [*(f"{prefix}a ! b.jpg" for prefix in PREFIXES), *(f"{scheme}://h/a.jpg" for scheme in SCHEMES), "0"]
PATHS = ["a.mp4", "/dev/video0", "./0", "gst", "test", "street/*.jpg", "tests:1"]


@pytest.mark.parametrize("source", NO_PATHS)
def test_a_camera_is_no_path(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not is_path(source)
    assert resolved(source) == source
    assert json.dumps(source) in _config(source=source, model=Path("m"), port=1, confidence=None, folder=tmp_path)
    (item,) = expand([source])
    assert item.source == source
    assert not item.is_picture, "its frames would be written as one picture"


@pytest.mark.parametrize("source", PATHS)
def test_a_path_is_one(source: str) -> None:
    assert is_path(source)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_what_follows_a_prefix_is_not_taken_for_an_address(prefix: str) -> None:
    assert not misspelt(f"{prefix}joe@host")
    assert not misspelt(f"{prefix}rtsp://host/s")


def test_every_form_is_named_where_one_is_refused() -> None:
    for form in (*PREFIXES, *(f"{scheme}://" for scheme in SCHEMES)):
        assert form in ACCEPTED


def test_frames_are_sampled_from_what_is_no_path(tmp_path: Path) -> None:
    taken = sample(["test:?size=64x48&fps=100"], tmp_path / "frames", count=1, verification=0, every_s=0.05)
    assert len(taken.frames) == 1
