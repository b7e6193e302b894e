"""Closed, full and abandoned standard streams: the exit code and at most one line, never a traceback, never a crash."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from tests.boxes import Box, squares_picture, write_video
from tests.brokers import Broker, Subscriber, free_port, wait_for
from tests.faults.processes import descendants

FULL = "standard output cannot be written: No space left on device; write it elsewhere"


def shell(command: str, folder: Path, *, unbuffered: str = "") -> subprocess.CompletedProcess[str]:
    """`edged` and `edged-provision` in a line of bash, its exit code that of the first one that fails."""
    programs = f'edged() {{ {sys.executable} -m edged "$@"; }}; ep() {{ {sys.executable} -m provisioning "$@"; }}'
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    if unbuffered:
        environment["PYTHONUNBUFFERED"] = unbuffered
    line = f"{programs}; cd {folder}; {command}"
    root = str(Path(__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join([root, environment.get("PYTHONPATH", "")])
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def config(tmp_path: Path) -> str:
    """Everything well but the broker: 69."""
    write_video(tmp_path / "a.avi", frames=5)
    for name in ("train", "val"):  # pictures without a label: the report ends with a verdict
        (tmp_path / "empty" / "images" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "empty" / "images" / name / "a.jpg"), squares_picture())
    (tmp_path / "empty" / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [red]\n")
    box = Box(tmp_path, free_port(), cameras={"gate": {"source": "test:"}})
    return box.write().name


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        pytest.param("edged check --config {config} >&-", 69, "", id="check-closed"),
        pytest.param("edged check --config {config} --json >&- 2>&-", 69, "", id="check-both-closed"),
        pytest.param("edged check --config {config} >/dev/full", 74, FULL, id="check-full"),
        pytest.param("edged check --config {config} --json >/dev/full", 74, FULL, id="check-json-full"),
        pytest.param("edged check --config {config} 2>/dev/full", 69, "", id="check-stderr-full"),
        pytest.param("edged check --config {config} | true", 69, "", id="check-nobody-reads"),
        pytest.param("edged check --config {config} | head -1", 69, "", id="check-head"),
        pytest.param("edged check --config {config} --json | true", 69, "", id="check-json-nobody-reads"),
        pytest.param("ep dataset check empty | true", 65, "", id="dataset-nobody-reads"),
        pytest.param("edged --help >/dev/full", 74, FULL, id="help-full"),
        pytest.param("edged detect --help >&- 2>&-", 0, "", id="help-closed"),
        pytest.param("edged nonsense 2>/dev/full", 2, "", id="usage-full"),
        pytest.param("edged run --config nothing.toml 2>&-", 78, "", id="run-closed"),
        pytest.param("edged detect nothing.jpg --model models/squares --jsonl - >&-", 69, "nothing.jpg", id="detect"),
        pytest.param("edged detect a.avi --model models/squares --jsonl - 2>/dev/full", 0, "", id="detect-stderr-full"),
        pytest.param("edged detect a.avi --model models/squares --jsonl - | head -c 9", 0, "", id="detect-left"),
        pytest.param("ep list --store models >&-", 0, "", id="list-closed"),
        pytest.param("ep list --store models <&- >&- 2>&-", 0, "", id="list-all-closed"),
        pytest.param("ep list --store models >/dev/full", 74, FULL, id="list-full"),
        pytest.param("ep --version >/dev/full", 74, FULL, id="version-full"),
        pytest.param("ep show nothing --store models 2>/dev/full", 78, "", id="show-full"),
        pytest.param("ep show nothing --store models 2>&1 | true", 78, "", id="show-nobody-reads"),
    ],
)
def test_streams_that_cannot_be_written(
    tmp_path: Path, config: str, command: str, code: int, said: str, unbuffered: str
) -> None:
    done = shell(command.format(config=config), tmp_path, unbuffered=unbuffered)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
    assert said in done.stderr
    if said == FULL:
        assert len([line for line in done.stderr.splitlines() if "edged" in line]) == 1


@pytest.mark.parametrize(("redirection", "code"), [("| head -c 5", 0), (">/dev/full", 74)])
def test_the_demo_ends_when_nobody_reads_it(tmp_path: Path, config: str, redirection: str, code: int) -> None:
    assert config
    done = shell(f"edged demo --source test: --model models/squares {redirection}", tmp_path)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert not [line for line in command_lines() if str(tmp_path).encode() in line], "something is left running"


def command_lines() -> list[bytes]:
    """Of every process; `ps` is not everywhere."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            found.append(path.read_bytes())
    return found


LEAKY = """
import logging, sys, threading
from edged.core.errors import ConfigError
from edged.core.exits import complain, exit_code
from edged.core.secrets import remember

def fail():
    raise RuntimeError("hunter2 in a thread")

def command():
    remember(["hunter2"])
    logging.getLogger("any").warning("hunter2 in %s", "a record of hunter2")
    try:
        raise ValueError("hunter2 in a trace")
    except ValueError:
        logging.getLogger("any").exception("traced")
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    complain("hunter2 in a complaint")
    raise {error}("hunter2 in an error")

sys.exit(exit_code(command, program="edged", extra="cpu"))
"""


@pytest.mark.parametrize(("error", "code"), [("ConfigError", 78), ("RuntimeError", 70)])
def test_nothing_that_a_command_says_shows_a_secret(tmp_path: Path, error: str, code: int) -> None:
    (tmp_path / "leaky.py").write_text(LEAKY.format(error=error))
    done = shell(f"{sys.executable} leaky.py", tmp_path)
    assert done.returncode == code
    for place in ("a record of ***", "a trace", "a thread", "a complaint", "an error"):
        assert f"*** in {place}" in done.stderr
    assert "hunter2" not in done.stderr


def test_the_service_runs_with_all_streams_closed_and_none_of_its_sockets_takes_their_place(tmp_path: Path) -> None:
    broker = Broker(tmp_path, free_port())
    broker.start()
    box = Box(tmp_path, broker.port, cameras={"gate": {"source": "test:?fps=10"}, "yard": {"source": "test:?fps=10"}})
    command = f"exec {sys.executable} -m edged run --config {box.write()} <&- >&- 2>&-"
    try:
        with Subscriber(broker.port) as subscriber:
            box.process = subprocess.Popen(["bash", "-c", command], text=True)
            wait_for(lambda: subscriber.last("edged/box/gate/status") == b"online", timeout_s=30, what="gate online")
            wait_for(lambda: subscriber.payloads("edged/box/gate/detections"), what="detections")
            processes = [box.process.pid, *descendants(box.process.pid)]
            assert len(processes) == 4  # the daemon, the fork server, a child a camera
            for pid in processes:
                targets = {number: os.readlink(f"/proc/{pid}/fd/{number}") for number in (0, 1, 2)}
                # A camera's child catches what decoders print.
                assert set(targets.values()) <= {"/dev/null", "/memfd:edged-log (deleted)"}, (pid, targets)
            assert box.stop() == 0
    finally:
        box.__exit__(None, None, None)
        broker.kill()
