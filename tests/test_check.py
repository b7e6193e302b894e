"""`edged check` on cameras: what it says of them, and what they see."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from edged.core.types import Pixels
from tests.boxes import Box, run_edged
from tests.brokers import free_port
from tests.capture.rtsp import rtsp_server
from tests.capture.support import number_of, write_video


def read(path: Path) -> Pixels:
    return np.asarray(cv2.imread(str(path)), np.uint8)


def test_check_says_how_an_rtsp_camera_comes_and_shows_it(tmp_path: Path) -> None:
    port, pictures = free_port(), tmp_path / "new" / "pictures"
    cameras: dict[str, dict[str, object]] = {
        "gate": {"source": f"rtsp://127.0.0.1:{port}/cam"},
        "file": {"source": str(write_video(tmp_path / "a.avi", frames=1, size_wh=(320, 240))), "loop": False},
        "gone": {"source": "missing.mp4"},
    }
    config = Box(tmp_path, free_port(), cameras=cameras).write()
    with rtsp_server(port, protocols=["UDP"], keys=9):
        done = run_edged("check", "--json", "--pictures", pictures, "--config", config)
    assert done.returncode == 69, "no broker, and a camera that is gone"
    parts = {part["part"]: part for part in json.loads(done.stdout)["parts"]}
    gate = parts["camera gate"]
    assert (
        "320x240, 15 frames/s, FFMPEG h264, software, over udp, a key frame every 0.6 s, picture in" in gate["detail"]
    )
    assert gate["facts"]["transport"] == "udp"
    assert gate["facts"]["size"] == [320, 240]
    assert abs(gate["facts"]["key_interval_s"] - 9 / 15) < 0.05
    assert parts["camera gone"]["facts"] == {}
    assert sorted(path.name for path in pictures.iterdir()) == ["file.jpg", "gate.jpg"]
    assert read(pictures / "gate.jpg").shape == (240, 320, 3)
    assert number_of(read(pictures / "file.jpg")) == 0


def test_check_that_cannot_write_its_pictures_says_so(tmp_path: Path) -> None:
    config = Box(tmp_path, free_port(), cameras={"gate": {"source": "test:"}}).write()
    done = run_edged("check", "--pictures", config / "below", "--config", config)
    assert done.returncode == 74
    assert "gate.jpg cannot be written: Not a directory" in done.stderr
