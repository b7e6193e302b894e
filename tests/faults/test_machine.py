"""Rows 20 to 24, 26 and 36: what the machine does to the daemon. It degrades, says so, and comes back."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.boxes import Box, write_video
from tests.brokers import Broker, Subscriber, wait_for
from tests.faults.processes import cpu_share, open_files, threads
from tests.publish.deliveries import all_deliveries, first_sights
from tests.publish.results import publisher

TOPIC = "edged/box/gate/detections"
STATS = "edged/box/stats"
FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)


def gate(folder: Path, **keys: object) -> dict[str, dict[str, object]]:
    return {"gate": {"source": str(write_video(folder / "a.avi")), **keys}}


def durable(outbox: Path, **keys: object) -> str:
    more = "\n".join(f"{key} = {json.dumps(value)}" for key, value in keys.items())
    return f"[publish]\nstats_interval_s = 0.3\ndurable = true\noutbox = {json.dumps(str(outbox))}\n{more}"


def stats(subscriber: Subscriber) -> dict[str, Any]:
    """The latest statistics; waits for the first."""
    wait_for(lambda: subscriber.last(STATS), timeout_s=20, what="statistics")
    values: dict[str, Any] = json.loads(subscriber.last(STATS))
    return values


def heard(subscriber: Subscriber) -> int:
    return len(subscriber.payloads(TOPIC))


def goes_on(subscriber: Subscriber, *, messages: int = 10) -> None:
    count = heard(subscriber)
    wait_for(lambda: heard(subscriber) > count + messages, timeout_s=30, what="detections go on")


def pid_of(box: Box) -> int:
    assert box.process is not None
    return box.process.pid


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "small", str(place)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("cannot mount a small file system here (needs root)")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_fault_full_disk_costs_the_oldest_messages_and_never_the_detection(
    tmp_path: Path, broker: Broker, small_disk: Path
) -> None:
    box = Box(tmp_path, broker.port, cameras=gate(tmp_path, pace="fast"), extra=durable(small_disk / "outbox"))
    with Subscriber(broker.port) as subscriber, box:
        wait_for(lambda: heard(subscriber) > 5, timeout_s=30, what="detections")
        (small_disk / "filler").write_bytes(b"x" * shutil.disk_usage(small_disk).free)
        wait_for(
            lambda: stats(subscriber)["publish"]["dropped"].get("outbox_disk", 0) > 0,
            timeout_s=40,
            what="counted drops",
        )
        frames = stats(subscriber)["frames"]
        wait_for(lambda: stats(subscriber)["frames"] > frames + 10, timeout_s=20, what="inference goes on")
        (small_disk / "filler").unlink()
        began = time.monotonic()
        goes_on(subscriber)
        dropped = stats(subscriber)["publish"]["dropped"]
        print(f"full disk: {dropped} dropped, back {time.monotonic() - began:.1f} s after there was room")  # noqa: T201
        assert box.stop() == 0
        assert "Traceback" not in box.log()


@pytest.fixture
def failing_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """While this file exists, the daemon's writes to its outbox fail with EIO."""
    library, trigger = tmp_path / "failing_disk.so", tmp_path / "failing"
    source = Path(__file__).with_name("failing_disk.c")
    if shutil.which("cc") is None:
        pytest.skip("no C compiler for the library that fails (apt-get install gcc)")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("FAILING_DISK", str(trigger))
    return trigger


def test_fault_failing_disk_is_said_and_costs_the_oldest_messages_only(
    tmp_path: Path, broker: Broker, failing_disk: Path
) -> None:
    box = Box(tmp_path, broker.port, cameras=gate(tmp_path, pace="fast"), extra=durable(tmp_path / "outbox"))
    with Subscriber(broker.port) as subscriber, box:
        wait_for(lambda: heard(subscriber) > 5, timeout_s=30, what="detections")
        failing_disk.touch()
        box.wait_log("disk I/O error", timeout_s=30)
        wait_for(
            lambda: stats(subscriber)["publish"]["dropped"].get("outbox_disk", 0) > 0,
            timeout_s=40,
            what="counted drops",
        )
        frames = stats(subscriber)["frames"]
        wait_for(lambda: stats(subscriber)["frames"] > frames + 10, timeout_s=20, what="inference goes on")
        failing_disk.unlink()
        began = time.monotonic()
        goes_on(subscriber)
        back_s = time.monotonic() - began
        assert box.stop() == 0
        assert "Traceback" not in box.log()
        wait_for(lambda: subscriber.last("edged/box/status") == b"offline", what="offline")
        causes = stats(subscriber)["publish"]["dropped"]
        dropped = sum(count for cause, count in causes.items() if cause.startswith("outbox"))
        # What still waited on disk is heard first: the gap of what was dropped lies before the message that follows it.
        rest = publisher(broker.port, durable=tmp_path / "outbox")
        wait_for(lambda: rest.counters().connected and not rest.counters().waiting, what="what waited on disk")
        rest.close()
        deliveries = all_deliveries(subscriber)
        missing = deliveries[-1] - len(set(deliveries))
        print(f"failing disk: {dropped} dropped, {missing} numbers missing, back {back_s:.1f} s after it works")  # noqa: T201
        assert first_sights(deliveries) == sorted(set(deliveries))
        assert missing == dropped, "each that is gone left its number out"


def test_fault_damaged_outbox_is_put_aside_and_said(tmp_path: Path, broker: Broker) -> None:
    outbox = tmp_path / "outbox"
    box = Box(tmp_path, broker.port, cameras=gate(tmp_path), extra=durable(outbox))
    broker.stop()
    box.start()
    box.wait_log("camera gate: online")
    time.sleep(2)
    assert box.stop() == 0
    databases = [path for path in outbox.iterdir() if path.suffix in {".db", ".sqlite", ".sqlite3"}]
    assert len(databases) == 1
    with closing(sqlite3.connect(databases[0])) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = databases[0].stat().st_size
    with databases[0].open("r+b") as file:
        file.seek(min(4096, size // 2))
        file.write(os.urandom(max(4096, size // 2)))
    broker.start()
    with Subscriber(broker.port) as subscriber, box:
        wait_for(lambda: heard(subscriber), timeout_s=30, what="detections")
        assert "starting empty: what waited in it is lost" in box.log()
        wait_for(lambda: stats(subscriber).get("publish", {}).get("quarantined") == 1, what="said in the statistics")
        assert box.stop() == 0


def test_fault_no_descriptors_left_degrades_and_does_not_spin(tmp_path: Path, broker: Broker) -> None:
    box = Box(tmp_path, broker.port, cameras=gate(tmp_path), extra="[publish]\nstats_interval_s = 0.3")
    with Subscriber(broker.port) as subscriber, box:
        wait_for(lambda: heard(subscriber) > 5, timeout_s=30, what="detections")
        pid = pid_of(box)
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_files(pid), before[1]))
        box.cameras["yard"] = dict(box.cameras["gate"])
        box.write()
        box.signal(signal.SIGHUP)
        broker.stop()
        broker.start()
        time.sleep(3)
        share = cpu_share(pid, over_s=3)
        print(f"no descriptors: {share:.2f} cores used, {threads(pid)} threads")  # noqa: T201
        assert box.process is not None and box.process.poll() is None
        assert share < 1.0
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        began = time.monotonic()
        count = heard(subscriber)
        wait_for(lambda: heard(subscriber) > count, timeout_s=40, what="detections again")
        print(f"no descriptors: detections {time.monotonic() - began:.1f} s after there were some again")  # noqa: T201
        box.signal(signal.SIGHUP)
        wait_for(lambda: subscriber.payloads("edged/box/yard/detections"), timeout_s=60, what="the new camera")
        assert box.stop() == 0
        assert "Traceback" not in box.log()


def test_fault_no_memory_left_ends_or_degrades_but_never_hangs(tmp_path: Path, broker: Broker) -> None:
    box = Box(tmp_path, broker.port, cameras=gate(tmp_path), extra="[publish]\nstats_interval_s = 0.3")
    with Subscriber(broker.port) as subscriber, box:
        wait_for(lambda: heard(subscriber) > 5, timeout_s=30, what="detections")
        pid = pid_of(box)
        used = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.prlimit(pid, resource.RLIMIT_AS, (used, -1))
        for number in range(4):  # each needs shared memory for its pictures
            box.cameras[f"big{number}"] = {"source": "test:?size=3000x2000&fps=5"}
        box.write()
        box.signal(signal.SIGHUP)
        time.sleep(5)
        assert box.process is not None
        if (code := box.process.poll()) is None:
            goes_on(subscriber)
            resource.prlimit(pid, resource.RLIMIT_AS, (-1, -1))
            assert box.stop() == 0
        else:
            assert code not in {0, 65, 78}, "systemd would not start it again"
            wait_for(lambda: subscriber.last("edged/box/status") == b"offline", what="offline")
        print(f"no memory: {'went on' if code is None else f'ended with {code}'}")  # noqa: T201


def stepped(subscriber: Subscriber, before: int) -> bool:
    return int(stats(subscriber)["clock_steps"]) > before


@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed (apt-get install libfaketime)")
def test_fault_clock_set_back_and_forth_moves_no_timer(
    tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    offset = tmp_path / "offset"
    offset.write_text("+0")
    monkeypatch.setenv("LD_PRELOAD", str(FAKETIME))
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(offset))
    monkeypatch.setenv("FAKETIME_NO_CACHE", "1")
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    box = Box(tmp_path, broker.port, cameras=gate(tmp_path), extra="[publish]\nstats_interval_s = 0.3")
    with Subscriber(broker.port) as subscriber, box:
        wait_for(lambda: heard(subscriber) > 5, timeout_s=30, what="detections")
        for step in ("+3600", "-3600", "+0"):
            before = stats(subscriber).get("clock_steps", 0)
            offset.write_text(step)
            wait_for(partial(stepped, subscriber, before), what=f"the step to {step} is noticed")
            goes_on(subscriber)
            time.sleep(1)
        assert json.loads(subscriber.last("edged/box/gate/health"))["reconnects"] == 0
        assert stats(subscriber)["publish"]["connects"] == 1
        sequences = [json.loads(payload)["sequence"] for payload in subscriber.payloads(TOPIC)]
        assert sequences == sorted(set(sequences))
        assert "the clock was set forward by 3600 s" in box.log()
        assert "the clock was set back by 7200 s" in box.log()
        assert "offline" not in box.log()
        assert box.stop() == 0


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("stress-ng") is None, reason="stress-ng is not installed (apt-get install stress-ng)")
def test_fault_starved_of_cpu_drops_frames_and_no_events(tmp_path: Path, broker: Broker) -> None:
    box = Box(tmp_path, broker.port, cameras=gate(tmp_path), extra=durable(tmp_path / "outbox"))
    with Subscriber(broker.port) as subscriber, box:
        wait_for(lambda: heard(subscriber) > 5, timeout_s=30, what="detections")
        hogs = str(4 * (os.cpu_count() or 1))
        with subprocess.Popen(["stress-ng", "--cpu", hogs, "--timeout", "20"], stderr=subprocess.DEVNULL) as stress:
            time.sleep(15)
            latency = stats(subscriber)["latency_ms"]["total"]["p99"]
            stress.wait()
        assert box.stop() == 0
        wait_for(lambda: subscriber.last("edged/box/status") == b"offline", what="offline")
        last = stats(subscriber)
        deliveries = all_deliveries(subscriber)
        print(f"starved: p99 {latency:.0f} ms, dropped {last['cameras']['gate']['dropped']}")  # noqa: T201
        assert deliveries == list(range(1, len(deliveries) + 1))
        assert not any(count for cause, count in last["publish"]["dropped"].items() if cause != "offline")
        assert "hangs" not in box.log()
