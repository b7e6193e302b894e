"""The cameras of a measured daemon, and the edged.toml that it is started with."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from edged.core.errors import UsageError
from edged.core.sources import is_path

DEVICE = f"bench-{os.getpid()}"  # two benches may run at once, e.g. tests
# Of the pattern cameras of a sweep; on average about one VGA picture.
MIXED_SIZES = ("640x480", "480x360", "800x600", "640x360")


@dataclass(frozen=True, slots=True)
class BenchCamera:
    """One camera of a measured daemon, as in `[[camera]]`."""

    source: str
    pace: str = "fast"
    fps: float = 0.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """The configuration of one measured daemon.

    Attributes:
        model: bundle directory.
        cameras: at least one.
        threads: as `[engine] threads`.
        precision: as `[engine] precision`.
    """

    model: Path
    cameras: tuple[BenchCamera, ...]
    threads: int = 0
    precision: str = "auto"

    def config(self, port: int) -> str:
        """The text of edged.toml for a broker on this loopback port."""
        head = (
            f'[device]\nid = "{DEVICE}"\n[model]\nbundle = {_quoted(str(self.model.absolute()))}\n'
            f'[engine]\nthreads = {self.threads}\nprecision = "{self.precision}"\n'
            f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\n[log]\nlevel = "warning"\n'
            '[publish]\ndurable = "none"\n[snapshots]\nenabled = false\n'  # nothing is left behind
        )
        return head + "".join(_camera(number, camera) for number, camera in enumerate(self.cameras))


def copies(source: str, count: int, *, pace: str = "fast", fps: float = 0.0) -> tuple[BenchCamera, ...]:
    """`count` cameras that all show `source`."""
    return (BenchCamera(source=resolved(source), pace=pace, fps=fps),) * count


def patterns(count: int, *, pace: str, fps: float) -> tuple[BenchCamera, ...]:
    """`count` test patterns of mixed sizes."""
    sizes = [MIXED_SIZES[number % len(MIXED_SIZES)] for number in range(count)]
    return tuple(
        BenchCamera(source=f"test:?size={size}&fps={fps:g}&seed={number}", pace=pace)
        for number, size in enumerate(sizes)
    )


def lost(count: int) -> tuple[BenchCamera, ...]:
    """`count` cameras that cannot be reached: nothing listens on port 9 of the loopback."""
    return tuple(BenchCamera(source=f"rtsp://127.0.0.1:9/{number}", pace="realtime") for number in range(count))


def resolved(source: str) -> str:
    """`source`, with a path made absolute.

    Raises:
        UsageError: no such file, or more than one line.
    """
    if "\n" in source:
        raise UsageError("SOURCE must be one line")
    if not is_path(source):
        return source
    if not Path(source).exists():
        raise UsageError(f"{source}: no such video", remedy="name a video, a folder of pictures, or test:")
    return str(Path(source).absolute())


def _camera(number: int, camera: BenchCamera) -> str:
    return (
        f'[[camera]]\nname = "c{number:02d}"\nsource = {_quoted(camera.source)}\npace = "{camera.pace}"\n'
        f"loop = true\nfps = {camera.fps:g}\nopen_timeout_s = 20.0\nread_timeout_s = 20.0\n"
    )


def _quoted(text: str) -> str:
    return json.dumps(text)  # JSON's strings are TOML's basic strings
