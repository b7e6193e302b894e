"""Frames between the supervisor and whoever takes them: newest first come fairly, slots go back, all is counted."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from edged.capture.slots import SlotArea
from edged.capture.wire import pack_free
from edged.core.states import CameraCounters
from edged.core.types import Frame


@dataclass(slots=True)
class Home:
    """Where the slots of one child go back to.

    Attributes:
        area: the slots.
        sock: to the child; None once it is gone or has newer slots.
    """

    area: SlotArea
    sock: socket.socket | None


class Held(NamedTuple):
    """A frame in a slot that is not the child's at present."""

    frame: Frame
    home: Home
    slot: int


@dataclass(slots=True)
class Lane:
    """One camera's frames and counts. Everything here is guarded by the exchange's lock.

    Attributes:
        camera: its name.
        keeps_all: nothing is superseded (pace `fast`).
        queued: it stands in the queue of cameras that have a frame.
    """

    camera: str
    keeps_all: bool
    sequence: int = 0
    waiting: deque[Held] = field(default_factory=deque)
    queued: bool = False
    captured: int = 0
    taken: int = 0
    superseded: int = 0
    no_slot: int = 0
    removed: int = 0
    skipped: int = 0
    bad: int = 0
    reconnects: int = 0


class FrameExchange:
    """Takes frames in from the supervisor's thread and hands them out to others.

    Args:
        on_idle: called (in any thread, under the lock) when slots that no child uses any more have all come home.
    """

    def __init__(self, *, on_idle: Callable[[SlotArea], None]) -> None:
        self._on_idle = on_idle
        self._lock = threading.Lock()
        self._ready = threading.Condition(self._lock)
        self._queue: deque[Lane] = deque()  # cameras with a frame, who waits longest first
        self._out: dict[tuple[str, int], Held] = {}
        self._lanes: dict[str, Lane] = {}
        self._closed = False

    def lane(self, camera: str, *, keeps_all: bool) -> Lane:
        """The camera's lane; its sequence and counts go on where an earlier camera of this name left them."""
        with self._lock:
            lane = self._lanes.setdefault(camera, Lane(camera=camera, keeps_all=keeps_all))
            lane.keeps_all = keeps_all
            return lane

    def offer(self, lane: Lane, held: Held, *, missed: int) -> None:
        """A new frame; `missed` ones before it found no slot."""
        with self._lock:
            self._count_missed(lane, missed)
            lane.captured += 1
            lane.sequence = held.frame.meta.sequence + 1
            if lane.waiting and not lane.keeps_all:
                lane.superseded += 1
                self._send_home(lane.waiting.popleft())
            lane.waiting.append(held)
            if not lane.queued:
                lane.queued = True
                self._queue.append(lane)
                self._ready.notify()

    def tally(self, lane: Lane, *, missed: int, skipped: int, bad: int) -> None:
        """What happened without a frame."""
        with self._lock:
            self._count_missed(lane, missed)
            lane.skipped += skipped
            lane.bad += bad

    def came_back(self, lane: Lane) -> None:
        """The camera returned after a loss."""
        with self._lock:
            lane.reconnects += 1

    def take(self, limit: int, *, timeout_s: float) -> list[Frame]:
        """See `Cameras.take`."""
        until_s = time.monotonic() + timeout_s
        frames: list[Frame] = []
        with self._lock:
            while not self._queue:
                left_s = until_s - time.monotonic()
                if left_s <= 0 or self._closed:
                    return []
                self._ready.wait(left_s)
            while self._queue and len(frames) < limit:
                lane = self._queue.popleft()
                held = lane.waiting.popleft()
                lane.taken += 1
                self._out[lane.camera, held.frame.meta.sequence] = held
                frames.append(held.frame)
                lane.queued = bool(lane.waiting)
                if lane.queued:
                    self._queue.append(lane)
        return frames

    def release(self, frames: Sequence[Frame]) -> None:
        """See `Cameras.release`."""
        with self._lock:
            for frame in frames:
                held = self._out.pop((frame.meta.camera, frame.meta.sequence), None)
                if held is None:
                    raise ValueError(f"frame {frame.meta.sequence} of {frame.meta.camera} is not out: released twice?")
                self._send_home(held)

    def retire(self, home: Home) -> None:
        """The child does not use these slots any more; frames in them stay valid until released."""
        with self._lock:
            home.sock = None
            home.area.retired = True
            if home.area.idle:
                self._on_idle(home.area)

    def drop_waiting(self, lane: Lane) -> None:
        """The camera was removed or changed: what nobody took is dropped and counted."""
        with self._lock:
            lane.removed += len(lane.waiting)
            while lane.waiting:
                self._send_home(lane.waiting.popleft())
            if lane.queued:
                self._queue.remove(lane)
                lane.queued = False

    def take_back(self, home: Home, slot: int) -> bool:
        """The child gives a slot away; False if it was not the child's to give."""
        with self._lock:
            if slot not in home.area.with_child:
                return False
            home.area.with_child.discard(slot)
            return True

    def counters(self, lane: Lane) -> CameraCounters:
        """A consistent copy."""
        with self._lock:
            return CameraCounters(
                captured=lane.captured,
                taken=lane.taken,
                waiting=len(lane.waiting),
                dropped={"superseded": lane.superseded, "no_slot": lane.no_slot, "removed": lane.removed},
                skipped=lane.skipped,
                bad_frames=lane.bad,
                reconnects=lane.reconnects,
            )

    def waiting(self) -> int:
        """Cameras that have a frame nobody took."""
        with self._lock:
            return len(self._queue)

    def close(self) -> None:
        """Whoever waits in `take` returns at once."""
        with self._lock:
            self._closed = True
            self._ready.notify_all()

    def _count_missed(self, lane: Lane, missed: int) -> None:
        lane.captured += missed
        lane.no_slot += missed
        lane.sequence += missed

    def _send_home(self, held: Held) -> None:
        home = held.home
        home.area.with_child.add(held.slot)
        if home.sock is not None:
            with suppress(OSError):  # a child that is gone or does not listen is dealt with by the supervisor
                home.sock.send(pack_free(home.area.layout.number, held.slot))
        elif home.area.retired and home.area.idle:
            self._on_idle(home.area)
