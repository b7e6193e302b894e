"""What one camera costs the processor: `EDGED_TEST_DATA=... python -m tests.capture.cost`. Needs the program ffmpeg.

A street by night as a camera of 1920x1080 at 15 frames a second sends it, H.264 and H.265, 4 Mbit/s, a key frame every
two seconds. CPU seconds, of user and system, for each second of video, without waiting for it: the median of ROUNDS.

- bare: FFmpeg's decoder in one thread, every frame, nothing else.
- edged: a camera's reader, which converts the frames that are processed.
- key frames: the same with `decode = "keyframes"`.
- fast: the same with `fast_decode = true`.
- pipe: as Frigate does it: the program ffmpeg scales frames to 1280x720 and writes them raw to a pipe, Python reads it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median

from tests.capture.cost.ways import RATE, SIZE_WH, WAYS, spent

ROUNDS = 3
SECONDS = 20
WANTED = (15.0, 5.0, 1.0, 0.2)  # processed frames a second
CODECS = {"H.264": ("libx264", "veryfast"), "H.265": ("libx265", "superfast")}


def clip(folder: Path, codec: str) -> Path:
    """The video, encoded anew."""
    encoder, preset = CODECS[codec]
    path = folder / f"{encoder}.mkv"
    source = Path(os.environ["EDGED_TEST_DATA"]) / "videos" / "night-street.mp4"
    size = f"{SIZE_WH[0]}:{SIZE_WH[1]}"
    shape = ["-vf", f"scale={size},fps={RATE}", "-t", str(SECONDS), "-an", "-pix_fmt", "yuv420p"]
    shape += ["-c:v", encoder, "-preset", preset, "-g", str(2 * RATE), "-bf", "0", "-b:v", "4M"]
    subprocess.run(
        ["ffmpeg", "-v", "error", "-stream_loop", "-1", "-i", str(source), *shape, str(path)],
        check=True,
        stderr=subprocess.DEVNULL,  # x265 talks
    )
    return path


def apart(way: str, path: Path, fps: float) -> tuple[float, int]:
    """`spent`, in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(spent, way, path, fps).result()


def main() -> None:
    """Print a table in Markdown: milliseconds of a processor's second, and the share of bare decoding."""
    out = sys.stdout.write
    rates = {way: WANTED if way != "bare" else WANTED[:1] for way in WAYS}
    out("| codec | way | " + " | ".join(f"{fps:g} frames/s" for fps in WANTED) + " |\n|---|---|---|---|---|---|\n")
    with tempfile.TemporaryDirectory() as folder:
        for codec in CODECS:
            path = clip(Path(folder), codec)
            cells: dict[tuple[str, float], list[float]] = {(way, fps): [] for way in WAYS for fps in rates[way]}
            for _ in range(ROUNDS):
                for (way, fps), found in cells.items():
                    found.append(apart(way, path, fps)[0] / SECONDS * 1000)
            whole = median(cells["bare", WANTED[0]])
            for way in WAYS:
                row = [median(cells[way, fps]) for fps in rates[way]]
                shown = " | ".join(f"{ms:.0f} ms, {ms / whole:.2f}" for ms in row)
                out(f"| {codec} | {way} | {shown}{' |' * (len(WANTED) - len(row))} |\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
