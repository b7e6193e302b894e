"""A publisher whose disk is full or whose process is killed: what was committed arrives, the rest is counted."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edged.publish.mqtt import MqttPublisher
from tests.brokers import Broker, Subscriber, free_port, wait_for
from tests.publish.deliveries import BLOCKED_S, deliveries, publish_all
from tests.publish.results import BASE, DETECTIONS, ORIGIN, options, outbox_options, publisher


def test_outbox_on_a_full_disk_drops_the_oldest_and_counts_them(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    port = free_port()
    broker = Broker(tmp_path, port)
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "t", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("cannot mount a small tmpfs (needs root): disk full is not tested")
    try:
        ours = MqttPublisher(options(port), ORIGIN, outbox=outbox_options(disk, queue_messages=5000))
        assert publish_all(ours, 4000) < BLOCKED_S
        wait_for(lambda: not ours._outbox._buffer._pending if ours._outbox else False)
        ours.close()
        dropped = dict(ours.counters().dropped)
        assert set(dropped) <= {"outbox_disk", "outbox_queue"}
        lost = sum(dropped.values())
        assert lost > 1000
        broker.start()
        with Subscriber(port) as seen:
            again = MqttPublisher(options(port), ORIGIN, outbox=outbox_options(disk))
            wait_for(lambda: len(set(deliveries(seen))) == 4000 - lost, what="what was kept")
            sequences = [json.loads(payload)["sequence"] for payload in seen.payloads(DETECTIONS)]
            assert sequences == sorted(sequences)
            assert sequences[-1] == 3999
            again.close()
    finally:
        broker.kill()
        subprocess.run(["umount", "-l", disk], check=True)


KILLED = """
import sys, time
from pathlib import Path
from tests.publish.results import publisher, result
ours = publisher(int(sys.argv[1]), durable=Path(sys.argv[2]))
sequence = 0
while True:
    ours.publish(result(sequence, 1))
    sequence += 1
    time.sleep(0.002)
"""


def kill_repeatedly(broker: Broker, folder: Path, times: int) -> tuple[int, int]:
    """Publish in a process that is killed so often; (messages, duplicates) once all arrived."""
    with Subscriber(broker.port) as seen:
        for seed in range(times):
            daemon = subprocess.Popen([sys.executable, "-c", KILLED, str(broker.port), str(folder)])
            before = len(deliveries(seen))
            wait_for(lambda before=before: len(deliveries(seen)) > before + 5, timeout_s=30)  # type: ignore[misc]
            time.sleep(random.Random(seed).uniform(0, 0.2))
            daemon.send_signal(signal.SIGKILL)
            daemon.wait()
            wait_for(lambda: seen.last(f"{BASE}/status") == b"offline", what="the will")
        last = publisher(broker.port, durable=folder)
        wait_for(lambda: last.counters().connected and not last.counters().waiting)
        last.close()
        got = deliveries(seen)
    # Numbers are given at the commit and without gaps: a gap would be a committed message that never arrived.
    assert set(got) == set(range(1, max(got) + 1))
    return len(set(got)), len(got) - len(set(got))


def test_daemon_killed_loses_nothing_committed(broker: Broker, tmp_path: Path) -> None:
    messages, _ = kill_repeatedly(broker, tmp_path / "outbox", 3)
    assert messages > 15


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_daemon_killed_a_hundred_times_loses_nothing_committed(
    broker: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    messages, duplicates = kill_repeatedly(broker, tmp_path / "outbox", 100)
    with capsys.disabled():
        sys.stdout.write(f"\n100 kills: {messages} committed, all arrived, {duplicates} duplicates\n")
    assert messages > 500
