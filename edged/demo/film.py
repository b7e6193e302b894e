"""Renders the street scene that the demo watches when no SOURCE is given."""

from __future__ import annotations

from pathlib import Path

import cv2
from tqdm import tqdm

from edged.core.errors import EdgedError
from edged.demo.scene import Scene

SEED = 7
PEOPLE = 6
SIZE_WH = (640, 360)
FPS = 10.0
SECONDS = 12.0


def render_film(path: Path, *, seconds: float = SECONDS) -> Path:
    """Render people who walk along a street into a video file; takes some seconds.

    Args:
        path: `.avi`, written as Motion JPEG.
        seconds: of film, at 10 frames a second.

    Raises:
        EdgedError: the file cannot be written.
    """
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, SIZE_WH)
    if not writer.isOpened():
        raise EdgedError(f"{path}: the street scene cannot be written", remedy="is the disk full?")
    scene = Scene(SEED, SIZE_WH, people=PEOPLE)
    try:
        # tqdm's None means: a bar only on a terminal.
        for number in tqdm(range(round(seconds * FPS)), desc="rendering a street", unit=" frames", disable=None):
            writer.write(scene.frame(number / FPS)[0])
    finally:
        writer.release()
    return path
