"""Cameras as real child processes: order, fairness, counts, ends, changes."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from edged.capture.cameras import Cameras
from edged.capture.parent.context import CaptureSettings
from edged.capture.spec import CameraSpec
from edged.core.types import Frame
from tests.capture.support import (
    QUICK,
    Recorder,
    alive,
    mjpeg_server,
    number_of,
    open_descriptors,
    pattern,
    take_until,
    wait_for_frame,
    wait_until,
    write_video,
)


def test_cameras_fast_file_drops_nothing_and_keeps_order(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", 50)
    recorder = Recorder()
    numbers: list[int] = []
    sequences: list[int] = []
    with Cameras([CameraSpec(name="file", source=str(video), pace="fast", loop=False)], on_state=recorder) as cameras:
        while not cameras.ended:
            frames = cameras.take(3, timeout_s=0.1)
            numbers += [number_of(frame.pixels) for frame in frames]
            sequences += [frame.meta.sequence for frame in frames]
            cameras.release(frames)
        counters = cameras.counters()["file"]
    assert numbers == list(range(50))
    assert sequences == list(range(50))
    assert (counters.captured, counters.taken, counters.waiting) == (50, 50, 0)
    assert recorder.names("file") == ["opening", "online", "ended"]
    assert "FFMPEG" in recorder.states[-1].decoder and "software" in recorder.states[-1].decoder


def test_cameras_realtime_counts_every_frame_exactly_once() -> None:
    with Cameras(
        [pattern("fast-one", "size=64x48&fps=200&frames=200", pace="realtime")], on_state=Recorder()
    ) as cameras:
        sequences = []
        while not cameras.ended:
            frames = cameras.take(1, timeout_s=0.1)
            sequences += [frame.meta.sequence for frame in frames]
            time.sleep(0.03)
            cameras.release(frames)
        counters = cameras.counters()["fast-one"]
    assert counters.dropped["superseded"] > 0
    assert counters.captured == counters.taken + sum(counters.dropped.values())
    assert counters.captured + counters.skipped == 200
    assert sequences == sorted(set(sequences))
    assert 0 <= counters.captured - 1 - sequences[-1] <= counters.dropped["no_slot"], "the last may find no slot"


def test_cameras_without_a_free_slot_counts_and_goes_on() -> None:
    settings = CaptureSettings(slots=3)
    spec = pattern("gate", "size=64x48&fps=100", pace="realtime")
    with Cameras([spec], on_state=Recorder(), settings=settings) as cameras:
        held: list[Frame] = []
        while len(held) < 2:
            held += cameras.take(1, timeout_s=1.0)
        before = [frame.pixels.copy() for frame in held]
        cameras.take(1, timeout_s=1.0)  # the third: now no slot is left
        wait_until(lambda: cameras.counters()["gate"].dropped["no_slot"] > 5)
        assert all(np.array_equal(frame.pixels, copy) for frame, copy in zip(held, before, strict=True))
        cameras.release(held)
        assert wait_for_frame(cameras).meta.sequence > held[-1].meta.sequence + 5


def test_cameras_take_is_fair_between_slow_and_quick_ones() -> None:
    specs = [pattern(f"cam{index}", f"size={64 * (index % 3 + 1)}x48") for index in range(6)]
    with Cameras(specs, on_state=Recorder()) as cameras:
        wait_until(lambda: cameras.waiting() == 6)
        counts: Counter[str] = Counter()
        while sum(counts.values()) < 400:
            wait_until(lambda: cameras.waiting() == 6)  # all ask for more than they get
            frames = cameras.take(4, timeout_s=1.0)
            counts.update(frame.meta.camera for frame in frames)
            cameras.release(frames)
    assert max(counts.values()) - min(counts.values()) <= 2, counts


def test_cameras_stamps_the_grab_in_both_clocks() -> None:
    with Cameras([pattern("gate", "size=64x48&fps=50", pace="realtime")], on_state=Recorder()) as cameras:
        wait_for_frame(cameras)
        frame = wait_for_frame(cameras)
        age_s = (time.monotonic_ns() - frame.meta.captured_ns) / 1e9
        wall_age_s = time.time() - frame.meta.captured_at.timestamp()
    assert 0 <= age_s < 5
    assert abs(wall_age_s - age_s) < 0.5
    assert frame.meta.captured_at.tzname() == "UTC"


def test_cameras_realtime_file_plays_at_its_own_rate(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", 20, fps=20)
    with Cameras([CameraSpec(name="file", source=str(video), loop=False)], on_state=Recorder()) as cameras:
        frames = take_until(cameras, lambda: cameras.ended)
    span_s = (frames[-1].meta.captured_ns - frames[0].meta.captured_ns) / 1e9
    assert span_s == pytest.approx(0.95, abs=0.12)


@pytest.mark.parametrize("source", ["test:?size=64x48&fps=50", "video"])
def test_cameras_low_fps_limit_is_no_stall(tmp_path: Path, source: str) -> None:
    path = str(write_video(tmp_path / "v.mp4", 50, fps=50)) if source == "video" else source
    spec = CameraSpec(name="gate", source=path, fps=0.7, loop=True, read_timeout_s=0.5)
    recorder = Recorder()
    with Cameras([spec], on_state=recorder) as cameras:
        frames = take_until(cameras, lambda: cameras.counters()["gate"].taken >= 3)
        counters = cameras.counters()["gate"]
    assert recorder.names("gate") == ["opening", "online"]
    gaps_s = [(b.meta.captured_ns - a.meta.captured_ns) / 1e9 for a, b in itertools.pairwise(frames)]
    assert all(gap == pytest.approx(1.43, abs=0.2) for gap in gaps_s)
    assert counters.skipped > 50
    assert [frame.meta.sequence for frame in frames] == [0, 1, 2], "frames passed over are no drops"


def test_cameras_low_fps_limit_of_a_stream_is_no_stall() -> None:
    recorder = Recorder()
    with mjpeg_server() as (port, _):
        spec = CameraSpec(name="gate", source=f"http://127.0.0.1:{port}/", fps=0.7, read_timeout_s=0.5)
        with Cameras([spec], on_state=recorder) as cameras:
            take_until(cameras, lambda: cameras.counters()["gate"].taken >= 3)
    assert recorder.names("gate") == ["opening", "online"]


def test_cameras_loop_goes_on_with_growing_sequences(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", 7)
    spec = CameraSpec(name="file", source=str(video), pace="fast", loop=True)
    with Cameras([spec], on_state=Recorder()) as cameras:
        numbers: list[int] = []
        while len(numbers) < 30:
            frames = cameras.take(2, timeout_s=1.0)
            numbers += [number_of(frame.pixels) for frame in frames]
            cameras.release(frames)
    assert numbers[:30] == [index % 7 for index in range(30)]


def test_cameras_rotate_turns_clockwise() -> None:
    spec = CameraSpec(name="file", source="test:?size=64x48&frames=1", pace="fast", rotate=90, loop=False)
    plain = CameraSpec(name="plain", source="test:?size=64x48&frames=1", pace="fast", loop=False)
    with Cameras([spec, plain], on_state=Recorder()) as cameras:
        wait_until(lambda: cameras.waiting() == 2)
        frames = {frame.meta.camera: frame for frame in cameras.take(2, timeout_s=1.0)}
        assert frames["file"].meta.size_wh == (48, 64)
        assert np.array_equal(frames["file"].pixels, np.rot90(frames["plain"].pixels, -1))
        cameras.release(list(frames.values()))


def test_cameras_pixels_are_read_only() -> None:
    with Cameras([pattern("gate")], on_state=Recorder()) as cameras:
        frame = wait_for_frame(cameras)
        assert not frame.pixels.flags.writeable


def test_cameras_release_twice_is_refused() -> None:
    with Cameras([pattern("gate")], on_state=Recorder()) as cameras:
        frame = wait_for_frame(cameras)
        with pytest.raises(ValueError, match="released twice"):
            cameras.release([frame])


def test_cameras_take_times_out_empty() -> None:
    with Cameras([], on_state=Recorder()) as cameras:
        began_s = time.monotonic()
        assert cameras.take(4, timeout_s=0.1) == []
        assert 0.09 <= time.monotonic() - began_s < 2


def test_cameras_close_wakes_a_waiting_taker() -> None:
    cameras = Cameras([], on_state=Recorder())
    cameras.start()
    results: list[int] = []
    taker = threading.Thread(target=lambda: results.append(len(cameras.take(1, timeout_s=30.0))))
    taker.start()
    cameras.close()
    taker.join(5)
    assert results == [0]


def test_cameras_two_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two cameras are called 'gate'"):
        Cameras([pattern("gate"), pattern("gate")], on_state=Recorder())


def test_cameras_replace_leaves_unchanged_ones_alone() -> None:
    recorder = Recorder()
    stays, goes, changes = pattern("stays"), pattern("goes"), pattern("changes", "size=64x48")
    with Cameras([stays, goes, changes], on_state=recorder) as cameras:
        wait_until(lambda: cameras.waiting() == 3 and len(cameras.pids()) == 3)
        pids = cameras.pids()
        take_until(cameras, lambda: cameras.counters()["changes"].taken >= 5)
        taken = cameras.counters()["changes"].taken
        cameras.replace([stays, pattern("changes", "size=80x48"), pattern("comes")])
        assert set(cameras.states()) == {"stays", "changes", "comes"}
        frames = take_until(
            cameras, lambda: "comes" in cameras.pids() and cameras.counters()["changes"].taken > taken + 9
        )
        now = cameras.pids()
        counters = cameras.counters()["changes"]
    assert now["stays"] == pids["stays"]
    assert now["changes"] != pids["changes"]
    wait_until(lambda: not alive(pids["goes"]) and not alive(pids["changes"]))
    changed = [frame.meta for frame in frames if frame.meta.camera == "changes"]
    assert {meta.size_wh for meta in changed} == {(80, 48)}
    assert changed[0].sequence >= taken, "the sequence goes on"
    assert counters.captured == counters.taken + sum(counters.dropped.values()) + counters.waiting
    assert recorder.names("stays") == ["opening", "online"]
    assert recorder.names("changes") == ["opening", "online", "opening", "online"]


def test_cameras_replace_from_the_listener_does_not_deadlock() -> None:
    done = threading.Event()

    def listener(state: object) -> None:
        del state
        cameras.states()
        if not done.is_set():
            done.set()
            cameras.replace([pattern("other")])

    cameras = Cameras([pattern("gate")], on_state=listener)
    with cameras:
        wait_until(lambda: set(cameras.states()) == {"other"})


def test_cameras_listener_that_fails_stops_nothing() -> None:
    def listener(state: object) -> None:
        raise RuntimeError(f"listener broken on {state}")

    with Cameras([pattern("gate")], on_state=listener) as cameras:
        wait_for_frame(cameras)


class Watcher:
    """Records slot memory."""

    def __init__(self) -> None:
        self.areas: dict[int, tuple[str, int]] = {}
        self.seen = 0

    def appeared(self, camera: str, address: int, length: int) -> None:
        self.areas[address] = (camera, length)
        self.seen += 1

    def vanished(self, camera: str, address: int) -> None:
        assert self.areas.pop(address)[0] == camera


def test_cameras_tell_the_watcher_where_frames_lie() -> None:
    watcher = Watcher()
    with Cameras([pattern("gate", "size=64x48")], on_state=Recorder(), watcher=watcher) as cameras:
        frames = cameras.take(1, timeout_s=5.0)
        (address, (camera, length)) = next(iter(watcher.areas.items()))
        start = frames[0].pixels.ctypes.data
        assert camera == "gate"
        assert address % 4096 == 0 and address <= start < start + frames[0].pixels.nbytes <= address + length
        cameras.replace([])
        time.sleep(0.2)
        assert watcher.areas, "a frame is still out"
        assert int(frames[0].pixels.sum()) > 0
        cameras.release(frames)
        wait_until(lambda: not watcher.areas)
    assert watcher.seen == 1


def test_cameras_frames_outlive_close_until_released() -> None:
    watcher = Watcher()
    cameras = Cameras([pattern("gate")], on_state=Recorder(), watcher=watcher)
    cameras.start()
    frames = cameras.take(2, timeout_s=5.0)
    cameras.close()
    assert watcher.areas and int(frames[0].pixels.sum()) > 0
    cameras.release(frames)
    assert not watcher.areas
    cameras.close()


def test_cameras_close_leaves_nothing_behind() -> None:
    descriptors, threads = open_descriptors(), threading.active_count()
    cameras = Cameras([pattern("one"), pattern("two", "size=640x480")], on_state=Recorder())
    cameras.start()
    frames = take_until(cameras, lambda: len(cameras.pids()) == 2 and cameras.counters()["two"].taken > 3)
    pids = cameras.pids().values()
    cameras.close()
    del frames
    assert not any(alive(pid) for pid in pids)
    assert threading.active_count() == threads
    wait_until(lambda: open_descriptors() <= descriptors)


def test_cameras_never_started_closes() -> None:
    descriptors = open_descriptors()
    Cameras([pattern("gate")], on_state=Recorder(), settings=QUICK).close()
    assert open_descriptors() <= descriptors


@pytest.mark.parametrize("slots", [2, 65])
def test_settings_slots_out_of_range(slots: int) -> None:
    with pytest.raises(ValueError, match="slots must be 3 to 64"):
        CaptureSettings(slots=slots)
