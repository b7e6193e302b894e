"""Real RTSP cameras for tests: GStreamer's own server in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edged.capture.spec import CameraSpec

PYTHON = "/usr/bin/python3"  # the distribution's, which has GStreamer's bindings
SERVER = Path(__file__).with_name("rtsp_server.py")
PLAIN: dict[str, Any] = {
    "host": "127.0.0.1",
    "codec": "h264",
    "size": "width=320,height=240",
    "rate": "framerate=15/1",
    "keys": 15,  # frames from one key frame to the next
    "sps": True,  # parameter sets in the stream, not in the description alone
    "audio_first": False,
    "protocols": [],  # of UDP, TCP, UDP_MCAST; empty: UDP and TCP
    "password": "",  # of the user joe
    "digest": False,
    "certificate": "",
    "key": "",
    "shared": False,
    "groups": "224.3.0",  # of multicast, without their last number
}


@contextmanager
def rtsp_server(port: int, *, inside: Sequence[str] = (), **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A running server; skips the test where GStreamer's is not installed.

    Args:
        port: to listen on.
        inside: a command that runs the server elsewhere.
        options: over those of `PLAIN`.
    """
    if not Path(PYTHON).exists():
        pytest.skip(f"no {PYTHON} with GStreamer's bindings")
    command = [*inside, PYTHON, str(SERVER), json.dumps({**PLAIN, "port": port, **options})]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            if process.stdout.readline().strip() != "ready":
                pytest.skip(f"no RTSP server from GStreamer: {process.stderr.read().strip().splitlines()[-1:]}")
            yield process
        finally:
            process.kill()


def change(server: subprocess.Popen[str], line: str) -> None:
    """Have a running server change its size, rate or clock: see `rtsp_server.py`."""
    assert server.stdin is not None
    server.stdin.write(line + "\n")
    server.stdin.flush()


def camera(port: int, *, name: str = "gate", user: str = "", **options: Any) -> CameraSpec:
    """A camera at our server."""
    source = f"rtsp://{user}127.0.0.1:{port}/cam"
    return CameraSpec(**{"name": name, "source": source, "read_timeout_s": 1.5, **options})


@contextmanager
def other_machine() -> Iterator[tuple[str, str, list[str]]]:
    """A network namespace beside ours, reached by a pair of interfaces.

    Yields its address, groups of multicast that come from there, and a command to run in it.
    """
    name = f"edged{os.getpid() % 100_000}"
    there = ["nsenter", f"--net=/run/netns/{name}"]  # `ip netns exec` would mount /sys anew, which not every root may
    number = os.getpid() % 250
    ours, theirs, net, groups = f"{name}a", f"{name}b", f"10.213.{number}", f"224.3.{number}"
    steps = [
        ["ip", "netns", "add", name],
        ["ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name],
        ["ip", "addr", "add", f"{net}.1/24", "dev", ours],
        ["ip", "link", "set", ours, "up"],
        [*there, "ip", "addr", "add", f"{net}.2/24", "dev", theirs],
        [*there, "ip", "link", "set", theirs, "up"],
        [*there, "ip", "route", "add", "224.0.0.0/4", "dev", theirs],
        ["ip", "route", "add", f"{groups}.0/24", "dev", ours],
    ]
    try:
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"no second network here (needs root): {done.stderr.strip()}")
        yield f"{net}.2", groups, there
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
