"""Runs the demo: broker, generated configuration, the real daemon, a subscriber, a summary."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

from edged.core.bundle import Bundle
from edged.core.errors import DetectorError, UsageError
from edged.core.exits import complain
from edged.core.paths import FEED_SOCKET
from edged.core.redact import redact, remember_source
from edged.core.sources import is_path
from edged.demo.broker import start_broker
from edged.demo.film import render_film
from edged.demo.page import Page
from edged.demo.watch import Watcher

DEVICE = "demo"
CAMERA = "demo-camera"
NO_PAGE = "not here; pip install 'edged[view]' brings it"
# Of the rendered street.
AREAS = """
[[camera.zone]]
name = "pavement"
points = [[0.02, 0.6], [0.6, 0.6], [0.6, 0.98], [0.02, 0.98]]
[[camera.line]]
name = "middle"
points = [[0.5, 0.35], [0.5, 0.95]]
"""
STOP_S = 10.0
_LOG_READ, _LOG_SHOWN = (
    40_000,
    4000,
)  # of its end; more is read than shown: a cut password is not redacted
OK = 0


def run_demo(*, source: str | None, model: Path, frames: int, confidence: float | None = None) -> int:
    """Show detections of `source` until `frames` messages came, the source or the daemon ends, or Ctrl-C.

    Args:
        source: as a camera's `source`; None plays a rendered street scene.
        model: bundle directory.
        frames: 0 for endless.
        confidence: as `[model] confidence`.

    Returns:
        0, or the daemon's exit code where it ended by itself with an error.
    """
    # SIGTERM must not leave a daemon and a broker behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    bundle = Bundle.open(model)  # a missing model is reported before anything starts
    shown = source or "a rendered street scene"
    remember_source(shown)
    street = source is None
    with ExitStack() as resources:
        folder = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="edged-demo-")))
        source = source or str(render_film(folder / "street.avi"))
        broker = resources.enter_context(closing(start_broker(folder)))
        watcher = resources.enter_context(closing(Watcher(port=broker.port, base=f"edged/{DEVICE}", enough=frames)))
        config = folder / "edged.toml"
        areas = AREAS if street else ""
        config.write_text(
            _config(source=source, model=model, port=broker.port, confidence=confidence, folder=folder) + areas
        )
        config.chmod(0o600)
        page = resources.enter_context(closing(Page(folder, folder / FEED_SOCKET)))
        print(f"watching {redact(shown)} with {bundle.manifest.name}; broker {broker.name} on 127.0.0.1:{broker.port}")
        print(f"the page: {page.address or NO_PAGE}")
        print(f"look yourself: mosquitto_sub -p {broker.port} -v -t 'edged/#'      stop: Ctrl-C\n", flush=True)
        log = folder / "edged.log"
        code = _watch_daemon(config, log, watcher)
        print("\n" + "\n".join(watcher.tally.summary()), flush=True)
        if code != OK:
            complain(redact(log.read_text(errors="replace")[-_LOG_READ:])[-_LOG_SHOWN:].rstrip("\n"))
        elif frames and watcher.tally.messages < frames:
            print(f"the source ended after {watcher.tally.messages} of {frames} frames")
    return code


def _watch_daemon(config: Path, log: Path, watcher: Watcher) -> int:
    """Run the daemon until the watcher has seen enough, Ctrl-C, or its own end; returns its exit code."""
    command = [sys.executable, "-m", "edged", "run", "--config", str(config)]
    with log.open("wb") as output:
        # A session of its own: Ctrl-C ends the demo only, which then stops the daemon in order.
        daemon = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        while daemon.poll() is None and not watcher.done.wait(0.2):
            pass
    except KeyboardInterrupt:
        pass
    except SystemExit:
        _stop(daemon)
        raise
    return _stop(daemon)


def _stop(daemon: subprocess.Popen[bytes]) -> int:
    if daemon.poll() is None:
        daemon.send_signal(signal.SIGTERM)
    try:
        code = daemon.wait(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()
        raise DetectorError(f"the daemon did not end within {STOP_S:g} s of SIGTERM and was killed") from None
    time.sleep(0.1)  # until its last messages have passed through the broker
    return code


def _config(*, source: str, model: Path, port: int, confidence: float | None, folder: Path) -> str:
    if "\n" in source:
        raise UsageError("SOURCE must be one line")
    place = str(Path(source).resolve()) if is_path(source) else source
    threshold = f"confidence = {confidence}\n" if confidence is not None else ""
    # JSON's strings are TOML's basic strings.
    return (
        f'[device]\nid = "{DEVICE}"\n[model]\nbundle = {json.dumps(str(model.absolute()))}\n{threshold}'
        f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\n[publish]\nstats_interval_s = 1.0\ndurable = "none"\n'
        f"[snapshots]\ndirectory = {json.dumps(str(folder / 'snapshots'))}\n"
        f"[feed]\nsocket = {json.dumps(str(folder / FEED_SOCKET))}\n"
        f'[[camera]]\nname = "{CAMERA}"\nsource = {json.dumps(place)}\n'
    )
