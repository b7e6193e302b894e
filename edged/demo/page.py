"""The demo's page: `edged view`, where its packages are installed."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

START_S = 10.0
STOP_S = 3.0
_AT = re.compile(r"the page is at (\S+)")


class Page:
    """Runs beside the demo's daemon.

    Args:
        folder: for its log.
        socket: of the daemon's feed.

    Attributes:
        address: where it is; empty where it cannot be shown.
    """

    def __init__(self, folder: Path, socket: Path) -> None:
        self.address = ""
        self._process: subprocess.Popen[bytes] | None = None
        if find_spec("aiohttp") is None or find_spec("prometheus_client") is None:
            return
        log = folder / "view.log"
        command = [sys.executable, "-m", "edged", "view", "--socket", str(socket), "--listen", "127.0.0.1:0"]
        with log.open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        try:
            self._await_address(log)
        except BaseException:  # Ctrl-C: nobody else knows of the process yet
            self.close()
            raise

    def _await_address(self, log: Path) -> None:
        until_s = time.monotonic() + START_S
        while (
            self._process is not None
            and not self.address
            and self._process.poll() is None
            and time.monotonic() < until_s
        ):
            time.sleep(0.05)
            found = _AT.search(log.read_text(errors="replace"))
            self.address = found[1] if found else ""

    def close(self) -> None:
        """End it."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
