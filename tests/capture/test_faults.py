"""What cameras and their processes do wrong, really done: the others go on, and the camera comes back."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from edged.capture.cameras import Cameras
from edged.capture.parent.context import CaptureSettings
from edged.capture.spec import CameraSpec
from tests.capture.support import (
    QUICK,
    Recorder,
    alive,
    open_descriptors,
    pattern,
    take_until,
    wait_for_frame,
    wait_until,
    write_video,
)


def test_fault_killed_child_is_replaced_and_others_do_not_notice() -> None:
    recorder = Recorder()
    with Cameras([pattern("gate"), pattern("yard")], on_state=recorder, settings=QUICK) as cameras:
        take_until(cameras, lambda: all(count.taken > 0 for count in cameras.counters().values()))
        wait_until(lambda: len(cameras.pids()) == 2)
        pids = cameras.pids()
        os.kill(pids["gate"], signal.SIGSEGV)
        frames = take_until(cameras, lambda: cameras.counters()["gate"].reconnects == 1)
        assert cameras.pids()["yard"] == pids["yard"]
    offline = recorder.wait_for("gate", "offline")
    assert "ended by SIGSEGV" in offline.reason
    assert recorder.names("gate") == ["opening", "online", "offline", "online"]
    assert recorder.names("yard") == ["opening", "online"]
    sequences = [frame.meta.sequence for frame in frames if frame.meta.camera == "gate"]
    assert sequences == sorted(set(sequences)), "sequences go on across children"


def test_fault_stopped_child_is_killed_and_replaced() -> None:
    recorder = Recorder()
    spec = CameraSpec(name="gate", source="test:?size=64x48&fps=50", read_timeout_s=0.7, loop=False)
    with Cameras([spec], on_state=recorder, settings=QUICK) as cameras:
        take_until(cameras, lambda: cameras.counters()["gate"].taken > 3)
        hung = cameras.pids()["gate"]
        os.kill(hung, signal.SIGSTOP)
        began_s = time.monotonic()
        take_until(cameras, lambda: cameras.counters()["gate"].reconnects == 1)
        took_s = time.monotonic() - began_s
        assert not alive(hung)
    assert "gave no frame for 0.7 s" in recorder.wait_for("gate", "offline").reason
    assert took_s < 5


def test_fault_killed_forkserver_is_replaced_with_all_its_children() -> None:
    recorder = Recorder()
    with Cameras([pattern("gate"), pattern("yard")], on_state=recorder, settings=QUICK) as cameras:
        take_until(cameras, lambda: all(count.taken > 0 for count in cameras.counters().values()))
        wait_until(lambda: len(cameras.pids()) == 2)
        children = cameras.pids().values()
        forkserver = parent_of(next(iter(children)))
        os.kill(forkserver, signal.SIGKILL)
        wait_until(lambda: not any(alive(pid) for pid in children))
        take_until(cameras, lambda: all(count.reconnects == 1 for count in cameras.counters().values()))
    assert "capture service died" in recorder.wait_for("gate", "offline").reason


def test_fault_hung_child_does_not_outlive_its_forkserver() -> None:
    with Cameras([pattern("gate")], on_state=Recorder(), settings=QUICK) as cameras:
        take_until(cameras, lambda: "gate" in cameras.pids() and cameras.counters()["gate"].taken > 0)
        child = cameras.pids()["gate"]
        forkserver = parent_of(child)
        os.kill(child, signal.SIGSTOP)
        os.kill(forkserver, signal.SIGKILL)
        wait_until(lambda: not alive(child), timeout_s=3.0)


def test_fault_stopped_forkserver_is_replaced_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edged.capture.parent.forkserver_client.ANSWER_S", 0.5)
    with Cameras([pattern("gate")], on_state=Recorder(), settings=QUICK) as cameras:
        take_until(cameras, lambda: "gate" in cameras.pids() and cameras.counters()["gate"].taken > 0)
        child = cameras.pids()["gate"]
        os.kill(parent_of(child), signal.SIGSTOP)
        os.kill(child, signal.SIGKILL)
        take_until(cameras, lambda: cameras.counters()["gate"].reconnects == 1)


def test_fault_children_die_with_a_killed_daemon(tmp_path: Path) -> None:
    script = tmp_path / "daemon.py"
    script.write_text(
        "import sys, time\n"
        f"sys.path[:] = {os.sys.path!r}\n"  # type: ignore[attr-defined]
        "from edged.capture.cameras import Cameras\n"
        "from tests.capture.support import pattern, wait_for_frame\n"
        "cameras = Cameras([pattern('gate'), pattern('yard')], on_state=lambda state: None)\n"
        "cameras.start()\n"
        "while len(cameras.pids()) < 2: time.sleep(0.01)\n"
        "print(*cameras.pids().values(), flush=True)\n"
        "time.sleep(60)\n"
    )
    import subprocess
    import sys

    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        pids = [int(text) for text in daemon.stdout.readline().split()]
        forkserver = parent_of(pids[0])
        assert len(pids) == 2 and all(alive(pid) for pid in pids)
        daemon.kill()
    wait_until(lambda: not any(alive(pid) for pid in [*pids, forkserver]))


def test_fault_signals_of_the_terminal_do_not_reach_children() -> None:
    with Cameras([pattern("gate")], on_state=Recorder(), settings=QUICK) as cameras:
        take_until(cameras, lambda: "gate" in cameras.pids() and cameras.counters()["gate"].taken > 0)
        child = cameras.pids()["gate"]
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(child, number)
            os.kill(parent_of(child), number)
        taken = cameras.counters()["gate"].taken
        take_until(cameras, lambda: cameras.counters()["gate"].taken > taken + 20)
        assert cameras.pids()["gate"] == child


def test_fault_child_is_named_and_volunteers_for_the_oom_killer() -> None:
    with Cameras([pattern("front-door")], on_state=Recorder()) as cameras:
        wait_until(lambda: "front-door" in cameras.pids() and cameras.waiting() == 1)
        child = Path(f"/proc/{cameras.pids()['front-door']}")
        assert (child / "comm").read_text().strip() == "edged:front-doo"
        assert int((child / "oom_score_adj").read_text()) >= 500
        threads = len(os.listdir(child / "task"))
    assert threads == 1


def test_fault_child_holds_no_descriptor_of_the_daemon(tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w") as file:
        os.set_inheritable(file.fileno(), bool(file))
        with Cameras([pattern("gate")], on_state=Recorder()) as cameras:
            wait_until(lambda: "gate" in cameras.pids() and cameras.waiting() == 1)
            folder = Path(f"/proc/{cameras.pids()['gate']}/fd")
            targets = [os.readlink(folder / name) for name in os.listdir(folder)]
            arguments = (folder.parent / "cmdline").read_bytes()
    assert not any("secret" in target for target in targets)
    assert b"test:" not in arguments, "a source may hold a password and process arguments are world-readable"


def test_fault_absent_file_is_taken_up_when_it_comes(tmp_path: Path) -> None:
    recorder = Recorder()
    path = tmp_path / "later.mp4"
    with Cameras([CameraSpec(name="file", source=str(path), loop=True)], on_state=recorder, settings=QUICK) as cameras:
        assert "No such file" in recorder.wait_for("file", "offline").reason
        write_video(tmp_path / "ready.mp4").rename(path)
        wait_for_frame(cameras)
    assert recorder.names("file") == ["opening", "offline", "online"]


def test_fault_pauses_grow_up_to_their_limit_with_jitter() -> None:
    settings = CaptureSettings(backoff_first_s=1.0, backoff_max_s=30.0)
    pauses = {failures: {settings.pause_s(failures, auth=False) for _ in range(50)} for failures in (1, 2, 5, 6, 1000)}
    for failures, middle_s in {1: 1.0, 2: 2.0, 5: 16.0, 6: 30.0, 1000: 30.0}.items():
        assert all(0.8 * middle_s <= pause <= 1.2 * middle_s for pause in pauses[failures])
        assert len(pauses[failures]) > 10
    assert all(settings.pause_s(1, auth=True) >= 60 for _ in range(50))


def parent_of(pid: int) -> int:
    """Its parent's process id."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_fault_no_descriptors_left_is_a_reason_and_no_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    real = socket.socketpair
    calls = 0

    def scarce(*args: int) -> tuple[socket.socket, socket.socket]:
        nonlocal calls
        calls += 1
        if 1 < calls < 4:  # the first is the forkserver's
            raise OSError(24, "Too many open files")
        return real(*args)

    monkeypatch.setattr("edged.capture.parent.context.socket.socketpair", scarce)
    with Cameras([pattern("gate")], on_state=recorder, settings=QUICK) as cameras:
        assert "Too many open files" in recorder.wait_for("gate", "offline").reason
        wait_for_frame(cameras)


@pytest.mark.slow
def test_fault_hundred_restarts_leak_nothing() -> None:
    settings = CaptureSettings(backoff_first_s=0.01, backoff_max_s=0.02)
    with Cameras([pattern("gate", "size=320x240")], on_state=Recorder(), settings=settings) as cameras:

        def restart(times: int) -> None:
            goal = cameras.counters()["gate"].reconnects + times
            while cameras.counters()["gate"].reconnects < goal:
                before = cameras.counters()["gate"].reconnects
                wait_until(lambda: "gate" in cameras.pids() and cameras.states()["gate"].state == "online")
                os.kill(cameras.pids()["gate"], signal.SIGKILL)
                take_until(cameras, lambda: cameras.counters()["gate"].reconnects > before)  # noqa: B023 - runs here

        restart(10)
        descriptors, memory_kb = open_descriptors(), resident_kb()
        restart(100)
        wait_until(lambda: open_descriptors() <= descriptors)
        assert resident_kb() - memory_kb < 4096


def resident_kb() -> int:
    """Of this process, shared memory included."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])
