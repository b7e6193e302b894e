"""The page's program as users run it, and boxes for it to look at."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np

from tests.boxes import Box
from tests.brokers import wait_for
from tests.handmade import draw_square

TRACK = "[track]\nconfirm_s = 0.1\nlost_s = 1.0\nstationary_s = 2.0\n[publish]\nstats_interval_s = 1.0"
ZONE = '[[camera.zone]]\nname = "all"\npoints = [[0, 0], [1, 0], [1, 1], [0, 1]]'
STEP = 16  # pixels: the hand-made model finds squares at every such place


def write_walk(path: Path, *, fps: float = 5.0) -> Path:
    """A video in which a red square walks to the right and back, always where the hand-made model finds it."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (320, 320))
    assert writer.isOpened()
    there = list(range(24, 24 + 12 * STEP, STEP))
    for left in [*there, *reversed(there)]:
        image = np.full((320, 320, 3), 90, np.uint8)
        draw_square(image, "red", left, 120)
        writer.write(image)
    writer.release()
    return path


def walking_box(folder: Path, port: int, **more: Any) -> Box:
    """A box whose camera `gate` sees the walk; `more` are fields of Box."""
    camera = {"source": str(write_walk(folder / "walk.avi")), "frozen_after_s": 0}
    return Box(folder, port, **{"cameras": {"gate": camera}, "extra": TRACK, "areas": ZONE, **more})


def socket_of(box: Box) -> Path:
    """Where the box's feed is; it comes to be once the daemon runs."""
    return box.folder / "state" / "edged" / box.device / "feed.sock"


@dataclass
class View:
    """`edged view` as a process of its own."""

    folder: Path
    socket: Path | None
    options: tuple[str, ...] = ()
    config: str = ""
    process: subprocess.Popen[str] | None = field(default=None, repr=False)
    url: str = ""

    def __enter__(self) -> View:
        self.start()
        return self

    def start(self) -> None:
        command = [sys.executable, "-m", "edged", "view", *self.options]
        if self.socket is not None:
            command += ["--socket", str(self.socket)]
        if "--listen" not in self.options and "[listen]" not in self.config:
            command += ["--listen", "127.0.0.1:0"]
        if self.config:
            (self.folder / "view.toml").write_text(self.config)
            (self.folder / "view.toml").chmod(0o600)
            command += ["--config", str(self.folder / "view.toml")]
        with (self.folder / "view.log").open("a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, text=True, env={**os.environ})
        wait_for(self._listens, timeout_s=20, what="the page listens")

    def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        found = re.search(r"the page is at (\S+)", self.log())
        self.url = found[1] if found else ""
        return bool(found)

    def log(self) -> str:
        return (self.folder / "view.log").read_text()

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def ask(
        self, path: str, *, method: str = "GET", headers: dict[str, str] | None = None, body: str | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Status, headers and content of one answer; redirections are not followed."""
        place = urlsplit(self.url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=bool(headers and "Host" in headers))
            given = {**({"Content-Length": str(len(body))} if body is not None else {}), **(headers or {})}
            for name, value in given.items():
                connection.putheader(name, value)
            connection.endheaders(None if body is None else body.encode())
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def json(self, path: str) -> Any:
        status, _, content = self.ask(path)
        assert status == 200, content
        return json.loads(content)

    def now(self) -> dict[str, Any]:
        """Everything that the page knows."""
        found: dict[str, Any] = self.json("/api/now")
        return found
