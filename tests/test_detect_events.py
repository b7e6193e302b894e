"""`edged detect` on videos: who came, crossed a line and left, in the video's own time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.boxes import run_edged
from tests.handmade import draw_square, write_bundle
from tests.publish.test_payload import validate

CONFIG = """
[[camera]]
name = "yard"
source = "test:"
[[camera.zone]]
name = "right"
points = [[0.5, 0], [1, 0], [1, 1], [0.5, 1]]
[[camera.line]]
name = "middle"
points = [[0.4, 1], [0.4, 0]]
[[camera]]
name = "other"
source = "test:"
"""


def write_walk(path: Path, *, seconds: float = 8.0, fps: float = 10.0) -> Path:
    """A red square that stands still for 2 s, goes from left to right in 2 s, stands for 2 s and is gone."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (320, 320))
    assert writer.isOpened()
    for n in range(round(seconds * fps)):
        image = np.full((320, 320, 3), 90, np.uint8)
        at_s = n / fps
        if at_s < 6:
            # The hand-made model has cells of 8 pixels: the square goes from one to the next.
            draw_square(image, "red", 24 + 8 * round(min(max(at_s - 2, 0), 2) * 12), 56)
        writer.write(image)
    writer.release()
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("detect")
    write_bundle(made / "squares")
    write_walk(made / "walk.avi")
    (made / "edged.toml").write_text(CONFIG)
    return made


def events(path: Path) -> list[dict[str, Any]]:
    lines = path.read_bytes().splitlines()
    found = []
    for line in lines:
        content = json.loads(line)
        assert content.pop("source").endswith("walk.avi")
        found.append(validate("events", json.dumps(content).encode()))
    return found


def test_events_of_a_video_are_in_its_own_time(folder: Path) -> None:
    done = run_edged("detect", "walk.avi", "--model", "squares", "--config", "edged.toml", "--camera", "yard",
                     "--events", "events.jsonl", "--out", "seen", cwd=folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = events(folder / "events.jsonl")
    assert [each["type"] for each in told if each["type"] != "update"] == ["start", "end"]
    end = told[-1]
    assert end["duration_s"] == pytest.approx(5.9, abs=0.05), "seconds of the video, however long the look at it took"
    assert [(each["name"], each["direction"]) for each in end["lines"]] == [("middle", "in")]
    assert [each["name"] for each in end["zones"]] == ["right"]
    assert end["because"] == ["camera_offline"], "the video ended before it was gone for long enough"
    assert "1 events: 1 red" in done.stdout
    assert "line middle: 1 red in" in done.stdout
    capture = cv2.VideoCapture(str(folder / "seen" / "walk.mp4"))
    read, image = capture.read()
    assert read
    green = (image[:, 159:162].astype(int) @ [-1, 2, -1]).max(axis=1)  # the border of the zone is green
    assert np.median(green) > 100


def test_events_go_to_standard_output_and_text_to_standard_error(folder: Path) -> None:
    done = run_edged("detect", "walk.avi", "--model", "squares", "--events", "-", cwd=folder)
    assert done.returncode == 0
    assert all(json.loads(line)["schema"] == "edged.events/1" for line in done.stdout.splitlines())
    assert "1 events: 1 red" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--config", "edged.toml"), 2, "several cameras: say which with --camera NAME; it has yard, other"),
        (("--config", "edged.toml", "--camera", "roof"), 2, "no camera 'roof'; it has yard, other"),
        (("--camera", "yard"), 2, "--config FILE"),
        (("--config", "missing.toml"), 78, "missing.toml: not found"),
        (("--events", "-", "--jsonl", "-"), 2, "cannot both go to standard output"),
        (("--events", "missing/events.jsonl"), 2, "--events missing/events.jsonl: No such file or directory"),
    ],
)
def test_what_cannot_be_is_said(folder: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = run_edged("detect", "walk.avi", "--model", "squares", *arguments, cwd=folder)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def test_pictures_have_no_events(folder: Path) -> None:
    cv2.imwrite(str(folder / "still.png"), np.full((320, 320, 3), 90, np.uint8))
    done = run_edged("detect", "still.png", "--model", "squares", "--events", "none.jsonl", cwd=folder)
    assert done.returncode == 0
    assert (folder / "none.jsonl").read_bytes() == b""
