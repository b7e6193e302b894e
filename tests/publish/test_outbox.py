from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from edged.core.errors import ConfigError, EdgedError
from edged.publish import outbox as module
from edged.publish.options import OutboxOptions
from edged.publish.outbox_file import DATABASE, StoreCorruptError, StoreFailedError
from edged.publish.outbox_store import OutboxStore
from tests.brokers import wait_for
from tests.holdups import FairTime
from tests.publish.opened import Opened, numbers, opened


def test_outbox_gives_out_in_order_what_it_committed(tmp_path: Path) -> None:
    with opened(tmp_path) as ours:
        ours.put(2000 // 2)
        rows = ours.take(1000)
        assert numbers(rows) == [(n + 1, n) for n in range(1000)]
        assert ours.said_ready
        assert ours.outbox.waiting == 1000
        for row in rows:
            ours.outbox.acknowledge(row.delivery)
        wait_for(lambda: ours.outbox.waiting == 0)
    store = OutboxStore(tmp_path)
    assert (store.count, store.next_delivery) == (0, 1001)
    store.close()


def test_outbox_commits_before_it_gives_out(tmp_path: Path) -> None:
    with opened(tmp_path) as ours:
        for n in range(20):
            ours.put(1, first=n)
            (row,) = ours.take(1)
            # What another connection sees is committed.
            reader = sqlite3.connect(tmp_path / DATABASE)
            assert reader.execute("SELECT MAX(delivery) FROM message").fetchone() == (row.delivery,) == (n + 1,)
            reader.close()


def test_outbox_groups_its_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commits: list[int] = []
    real = OutboxStore.commit

    def counted(store: OutboxStore, rows: Any, confirmed: Any, **more: int) -> dict[str, int]:
        commits.append(len(rows))
        return real(store, rows, confirmed, **more)

    monkeypatch.setattr(OutboxStore, "commit", counted)
    with opened(tmp_path, commit_interval_s=0.05) as ours:
        began = time.monotonic()
        for n in range(100):
            ours.put(1, first=n)
            time.sleep(0.005)
        took_s = time.monotonic() - began
        ours.take(100)
    assert len(commits) <= took_s / 0.05 + 6


def test_outbox_rewind_gives_everything_unconfirmed_again(tmp_path: Path) -> None:
    with opened(tmp_path) as ours:
        ours.put(10)
        first = ours.take(10)
        for row in first[2:5]:
            ours.outbox.acknowledge(row.delivery)
        ours.outbox.rewind()
        again = ours.take(7)
        assert [row.delivery for row in again] == [1, 2, 6, 7, 8, 9, 10]
        ours.put(3, first=10)
        assert [row.delivery for row in ours.take(3)] == [11, 12, 13]


def test_outbox_rewind_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    with opened(tmp_path, commit_interval_s=0) as ours:
        stop = threading.Event()

        def keep_rewinding() -> None:
            while not stop.wait(0.003):
                ours.outbox.rewind()

        rewinder = threading.Thread(target=keep_rewinding)
        rewinder.start()
        confirmed: set[int] = set()
        for n in range(600):
            ours.put(1, first=n)
            row = ours.outbox.take()
            if row is not None:
                confirmed.add(row.delivery)
                ours.outbox.acknowledge(row.delivery)
        stop.set()
        rewinder.join()
        ours.outbox.rewind()
        rest = ours.take(600 - len(confirmed))
        assert {row.delivery for row in rest} | confirmed == set(range(1, 601))
        order = [row.delivery for row in rest]
        assert order == sorted(order)


def test_outbox_keeps_what_waits_over_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path) as ours:
        ours.put(700)
        for row in ours.take(700)[:100]:
            ours.outbox.acknowledge(row.delivery)
    with opened(tmp_path) as again:
        again.put(1, first=700)
        assert numbers(again.take(601)) == [(n + 1, n) for n in range(100, 701)]
        assert again.outbox.waiting == 601


def test_outbox_close_puts_on_disk_what_was_accepted(tmp_path: Path) -> None:
    ours = Opened(tmp_path, commit_interval_s=10)
    ours.put(1)
    ours.take(1)
    ours.put(300, first=1)  # the next commit would be seconds away
    ours.outbox.close(5)
    ours.put(1)
    assert ours.dropped() == {"closed": 1}
    store = OutboxStore(tmp_path)
    assert store.count == 301
    store.close()


def test_outbox_message_that_cannot_be_encoded_leaves_its_number_out(tmp_path: Path) -> None:
    def broken(_delivery: int) -> bytes:
        raise ValueError("not finite")

    with opened(tmp_path, commit_interval_s=0.2) as ours:
        ours.put(1)
        ours.outbox.put("topic", broken)
        ours.put(1, first=2)
        assert numbers(ours.take(2)) == [(1, 0), (3, 2)]
        assert ours.dropped() == {"invalid": 1}


def test_outbox_slow_disk_drops_the_oldest_and_does_not_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    real = OutboxStore.commit

    def slow(store: OutboxStore, rows: Any, confirmed: Any, **more: int) -> dict[str, int]:
        release.wait(10)
        return real(store, rows, confirmed, **more)

    monkeypatch.setattr(OutboxStore, "commit", slow)
    with opened(tmp_path, queue_messages=50) as ours:
        ours.put(1)
        wait_for(lambda: not ours.outbox._buffer._pending)
        with FairTime() as took:
            ours.put(1000, first=1)
        assert took.seconds < 1
        release.set()
        assert [n for _, n in numbers(ours.take(51))] == [0, *range(951, 1001)]
        assert ours.dropped() == {"outbox_queue": 950}


def test_outbox_failing_disk_is_retried_and_its_drops_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.02)
    failing = threading.Event()
    real = OutboxStore.commit

    def commit(store: OutboxStore, rows: Any, confirmed: Any, **more: int) -> dict[str, int]:
        if failing.is_set():
            raise StoreFailedError("outbox: disk I/O error")
        return real(store, rows, confirmed, **more)

    monkeypatch.setattr(OutboxStore, "commit", commit)
    with opened(tmp_path, queue_messages=50) as ours:
        ours.put(1, first=-1)
        ours.take(1)
        failing.set()
        ours.put(1)
        wait_for(lambda: "I/O" in ours.tally.last_error)
        ours.put(199, first=1)
        time.sleep(0.1)  # some more attempts
        failing.clear()
        rows = ours.take(50)
        assert [n for _, n in numbers(rows)] == list(range(150, 200))
        assert [row.delivery for row in rows] == list(range(152, 202)), "each that was lost leaves its number out"
        assert sum(ours.dropped().values()) == 150
        assert set(ours.dropped()) == {"outbox_disk"}
    assert caplog.text.count("I/O error") == 1, "said once, not at every retry"


def test_outbox_damaged_file_is_put_aside_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(tmp_path) as ours:
        ours.put(500)
        last = ours.take(500)[-1].delivery
    content = bytearray((tmp_path / DATABASE).read_bytes())
    content[8192:12288] = b"\xa5" * 4096
    (tmp_path / DATABASE).write_bytes(content)
    with caplog.at_level(logging.ERROR), opened(tmp_path) as again:
        again.put(3)
        rows = again.take(3)
        assert rows[0].delivery > last
        assert again.tally.snapshot(waiting=0).quarantined == 1
        assert "damaged" in again.tally.last_error
    assert "starting empty" in caplog.text
    assert (tmp_path / f"{DATABASE}.damaged").read_bytes() == bytes(content)


def test_outbox_damage_while_running_costs_only_what_was_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as ours:
        ours.put(300)
        ours.take(300)
        real = OutboxStore.commit

        def damaged(_store: OutboxStore, _rows: Any, _confirmed: Any, **_more: int) -> dict[str, int]:
            monkeypatch.setattr(OutboxStore, "commit", real)
            raise StoreCorruptError("outbox is damaged")

        monkeypatch.setattr(OutboxStore, "commit", damaged)
        ours.put(100, first=300)
        rows = ours.take(100)
        assert [n for _, n in numbers(rows)] == list(range(300, 400))
        assert rows[0].delivery > 300
        counters = ours.tally.snapshot(waiting=ours.outbox.waiting)
        assert (counters.quarantined, counters.waiting) == (1, 100)


def test_outbox_second_instance_is_refused_naming_the_holder(tmp_path: Path) -> None:
    script = (
        "import sys,time;from pathlib import Path;from edged.publish.outbox import Outbox;"
        "from edged.publish.counters import MessageTally;from edged.publish.options import OutboxOptions;"
        "o=Outbox(OutboxOptions(Path(sys.argv[1])),tally=MessageTally());o.start(on_ready=lambda:None);print('held',flush=True);"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(EdgedError, match=rf"in use by process {holder.pid}; stop it"):
            Opened(tmp_path)
        holder.kill()
    with opened(tmp_path):
        pass  # the lock of a killed process is free


def test_outbox_directory_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file/outbox"):
        Opened(tmp_path / "file" / "outbox")


@pytest.mark.parametrize("wrong", [{"max_bytes": 1}, {"max_age_s": 0}, {"queue_messages": 0}], ids=str)
def test_outbox_options_impossible_value_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        OutboxOptions(Path("/nowhere"), **wrong)
