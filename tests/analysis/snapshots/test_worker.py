"""The thread that makes snapshots: a picture is stored, dropped or failed, and the event says which."""

from __future__ import annotations

import hashlib
import os
import threading
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest

from edged.analysis.options import SnapshotOptions
from edged.analysis.snapshots import worker as module
from edged.analysis.snapshots.store import Limits, SnapshotStore
from edged.analysis.snapshots.worker import MOST_MQTT_BYTES, WAITING, Job, SnapshotWorker
from edged.core.events import Snapshot, SnapshotFacts
from edged.core.states import SnapshotCounters
from edged.jpeg import NoPicture
from tests.brokers import wait_for
from tests.fakes import frame_of

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
BOX = (100.0, 50.0, 300.0, 250.0)


class Ours:
    """A worker with a store in a folder, and what it said."""

    def __init__(self, folder: Path, **changes: bool) -> None:
        self.folder = folder
        self.shown: list[Snapshot] = []
        store = SnapshotStore(folder, Limits(max_mb=100, max_days=10, min_free_mb=0))
        self.worker = SnapshotWorker(SnapshotOptions(**changes), store, on_snapshot=self.shown.append)

    def take(self, event: str = "E", *, size: tuple[int, int] = (640, 360), sequence: int = 7) -> bool:
        pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
        frame = frame_of(pixels, sequence=sequence)
        return self.worker.take(Job(event, "person", NOON, frame.meta, BOX, 0.8, frame.pixels))

    def facts(self) -> SnapshotFacts:
        wait_for(lambda: self.worker.done, what="what became of it")
        facts = self.worker.done.popleft().facts
        assert facts is not None
        return facts


def read(content: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


@pytest.mark.parametrize("crop", [False, True])
def test_picture_is_stored_shown_and_named_by_its_hash(tmp_path: Path, *, crop: bool) -> None:
    ours = Ours(tmp_path, clean=True, crop=crop)
    assert ours.take()
    facts = ours.facts()
    stored = tmp_path / "gate" / "2026-03-01" / "E.jpg"
    assert facts == SnapshotFacts(7, facts.captured_at, BOX, hashlib.sha256(stored.read_bytes()).hexdigest(), "stored")
    (shown,) = ours.shown
    assert (shown.camera, shown.label, shown.event) == ("gate", "person", "E")
    assert len(shown.jpeg) <= MOST_MQTT_BYTES
    clean = read((stored.parent / "E-clean.jpg").read_bytes())
    assert clean.shape == ((300, 300, 3) if crop else (360, 640, 3))
    assert not np.array_equal(clean, read(stored.read_bytes())), "one of them has a box"
    assert ours.worker.counters == SnapshotCounters(stored=1)
    ours.worker.close(1)


def test_frame_may_change_once_it_was_taken(tmp_path: Path) -> None:
    ours = Ours(tmp_path)
    pixels = np.full((360, 640, 3), 200, np.uint8)
    frame = frame_of(pixels)
    ours.worker.take(Job("E", "person", NOON, frame.meta, BOX, 0.8, frame.pixels))
    pixels[:] = 0  # the slot is written again
    ours.facts()
    assert read(ours.shown[0].jpeg)[350, 600].mean() > 150


def test_full_disk_is_said_and_counted_and_the_picture_is_still_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ours = Ours(tmp_path)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    ours.take("A")
    assert (ours.facts().state, ours.worker.counters) == ("dropped_disk", SnapshotCounters(dropped_disk=1))
    monkeypatch.undo()
    assert len(ours.shown) == 1
    assert "snapshots cannot be stored: No space left on device" in caplog.text
    ours.take("B")
    assert ours.facts().state == "stored", "when the disk is free again"


def test_folder_that_cannot_be_listed_costs_the_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_descriptors(_: SnapshotStore) -> set[str]:
        raise OSError(24, "Too many open files")

    ours = Ours(tmp_path)
    monkeypatch.setattr(SnapshotStore, "tidy", no_descriptors)
    assert ours.take()
    assert ours.facts().state == "dropped_disk"
    assert [each.event for each in ours.shown] == ["E"]
    assert "Traceback" not in caplog.text


def test_picture_that_cannot_be_made_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Ours(tmp_path)

    def fail(*_: object, **__: object) -> bytes:
        raise NoPicture("no")

    monkeypatch.setattr(module, "jpeg", fail)
    ours.take()
    assert (ours.facts().state, ours.shown, list(tmp_path.rglob("*.jpg"))) == ("failed", [], [])
    assert ours.worker.counters == SnapshotCounters(failed=1)


def test_defect_does_not_end_the_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ours = Ours(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(module, "with_box", lambda *_: 1 / 0)
        ours.take("A")
        assert ours.facts().state == "failed"
    assert "unexpected failure" in caplog.text
    ours.take("B")
    assert ours.facts().state == "stored"


def test_busy_thread_takes_a_few_and_refuses_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    ours = Ours(tmp_path)
    monkeypatch.setattr(ours.worker, "_make", lambda _: free.wait(10))
    taken = [ours.take(str(n)) for n in range(WAITING + 4)]
    free.set()
    assert taken.count(True) in (WAITING, WAITING + 1)
    assert taken[-1] is False


def test_removed_files_are_told(tmp_path: Path) -> None:
    ours = Ours(tmp_path)
    ours.take("A")
    ours.facts()
    store = SnapshotStore(tmp_path, Limits(max_mb=100, max_days=0.001, min_free_mb=0))
    ours.worker._store, ours.worker._tidy_at = store, 0.0
    stored = tmp_path / "gate" / "2026-03-01" / "A.jpg"
    os.utime(stored, (0, 0))
    ours.take("B")
    wait_for(lambda: len(ours.worker.done) == 2)
    removed, facts = ours.worker.done
    assert (removed.event, removed.facts) == ("A", None)
    assert facts.facts is not None
    assert facts.facts.state == "stored"
