"""The ways to read a camera that are compared."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import av
import numpy as np

from edged.capture.sources.reader import FrameReader
from edged.capture.spec import CameraSpec

RATE = 15  # frames a second of the video
SIZE_WH, PIPED_WH = (1920, 1080), (1280, 720)


def bare(path: Path, _fps: float) -> int:
    """Decode every frame."""
    with av.open(str(path)) as container:
        track = container.streams.video[0]
        track.codec_context.thread_count = 1
        return sum(1 for _ in container.decode(track))


def edged(path: Path, fps: float, **options: Any) -> int:
    """Read as a camera's process does."""
    limit = 0.0 if fps == RATE else fps
    spec = CameraSpec(name="cost", source=str(path), pace="fast", loop=False, fps=limit, **options)
    into, frames = np.empty((SIZE_WH[1], SIZE_WH[0], 3), np.uint8), 0
    with closing(FrameReader(spec)) as reader:
        while reader.advance() is not None:
            reader.retrieve(into)
            frames += 1
    return frames


def piped(path: Path, fps: float) -> int:
    """Read what ffmpeg writes."""
    width, height = PIPED_WH
    command = ["ffmpeg", "-v", "error", "-threads", "1", "-i", str(path), "-vf", f"fps={fps:g},scale={width}:{height}"]
    command += ["-threads", "1", "-f", "rawvideo", "-pix_fmt", "yuv420p", "pipe:"]
    frames = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while process.stdout.read(width * height * 3 // 2):
            frames += 1
    return frames


WAYS: dict[str, Callable[..., int]] = {
    "bare": bare,
    "edged": edged,
    "key frames": lambda path, fps: edged(path, fps, decode="keyframes"),
    "fast": lambda path, fps: edged(path, fps, fast_decode=True),
    "pipe": piped,
}


def spent(way: str, path: Path, fps: float) -> tuple[float, int]:
    """CPU seconds of this process and its children for the whole video, and the frames that it gave."""
    FrameReader(CameraSpec(name="cost", source=str(path))).close()  # what is loaded at the first use is not counted
    before = _cpu_s()
    frames = WAYS[way](path, fps)
    return _cpu_s() - before, frames


def _cpu_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
