"""A whole edge box for tests: hand-made model, video of coloured squares, configuration, and the real daemon."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from edged.core.types import Pixels
from tests.brokers import wait_for
from tests.handmade import draw_square, write_bundle


def squares_picture(*, colours: Sequence[str] = ("red", "blue")) -> Pixels:
    """320x320 grey with a square a colour, each where the hand-made model finds it exactly."""
    image = np.full((320, 320, 3), 90, np.uint8)
    for index, colour in enumerate(colours):
        draw_square(image, colour, 24 + 80 * index, 56)
    return image


def write_video(path: Path, *, frames: int = 20, fps: float = 20.0, colours: Sequence[str] = ("red", "blue")) -> Path:
    """A real video file of squares that stand still."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (320, 320))
    assert writer.isOpened()
    for _ in range(frames):
        writer.write(squares_picture(colours=colours))
    writer.release()
    return path


@dataclass
class Box:
    """A configuration and the daemon that runs it."""

    folder: Path
    port: int
    cameras: dict[str, dict[str, object]] = field(default_factory=dict)
    extra: str = ""
    device: str = "box"
    mqtt: str = ""  # further lines of its section
    areas: str = ""  # zones, lines and masks of the last camera
    process: subprocess.Popen[str] | None = None

    @property
    def config(self) -> Path:
        return self.folder / f"{self.device}.toml"

    @property
    def model(self) -> Path:
        return self.folder / "models" / "squares"

    def write(self) -> Path:
        """(Re)write model, where it is missing, and configuration."""
        if not self.model.exists():
            write_bundle(self.model)
        lines = [f'[device]\nid = "{self.device}"', self.extra]
        if "[model]" not in self.extra:
            lines.append(f"[model]\nbundle = {json.dumps(str(self.model))}")
        lines.append(f'[mqtt]\nhost = "127.0.0.1"\nport = {self.port}\n{self.mqtt}')
        for name, keys in self.cameras.items():
            values = "\n".join(f"{key} = {json.dumps(value)}" for key, value in keys.items())
            lines.append(f'[[camera]]\nname = "{name}"\n{values}')
        lines.append(self.areas)
        self.config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.config.chmod(0o600)
        return self.config

    def start(self) -> Box:
        """Start the real daemon as a process of its own."""
        command = [sys.executable, "-m", "edged", "run", "--config", str(self.write())]
        environment = {**os.environ, "XDG_STATE_HOME": str(self.folder / "state")}
        with (self.folder / "edged.log").open("a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, text=True, env=environment)
        return self

    def log(self) -> str:
        return (self.folder / "edged.log").read_text()

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, *, timeout_s: float = 10.0) -> int:
        """SIGTERM; the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout_s=timeout_s)

    def wait(self, *, timeout_s: float = 20.0) -> int:
        """The exit code, once the daemon has ended by itself."""
        assert self.process is not None
        return self.process.wait(timeout_s)

    def wait_log(self, text: str, *, timeout_s: float = 20.0) -> None:
        wait_for(lambda: text in self.log(), timeout_s=timeout_s, what=f"{text!r} in the daemon's log")

    def __enter__(self) -> Box:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def run_edged(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`edged ARGUMENTS` as a process of its own."""
    command = [sys.executable, "-m", "edged", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False, cwd=cwd)
