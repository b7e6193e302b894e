"""Holds frames between supervisor and pipeline: the newest of each camera, in turn; returns slots; counts all."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from edged.capture.boundary.messages import pack_free
from edged.capture.boundary.slots import SlotArea
from edged.core.states import CameraCounters
from edged.core.types import Frame


@dataclass(slots=True)
class Home:
    """The slots of one child and the socket by which they go back to it.

    Attributes:
        area: the slots.
        sock: to the child; None once it is gone or has newer slots.
    """

    area: SlotArea
    sock: socket.socket | None


class Held(NamedTuple):
    """A frame whose slot is not with the child at present."""

    frame: Frame
    home: Home
    slot: int


@dataclass(slots=True)
class CameraQueue:
    """One camera's frames and counts. Everything here is guarded by the hub's lock.

    Attributes:
        camera: its name.
        keeps_all: every frame waits, none is superseded (pace `fast`).
        sequence: number of the next frame.
        queued: whether the camera is in the hub's list of cameras with a frame.
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


class FrameHub:
    """Takes frames from the supervisor's thread and hands them out to other threads.

    Args:
        on_idle: called (in any thread, under the lock) when the last frame in a retired area was released.
    """

    def __init__(self, *, on_idle: Callable[[SlotArea], None]) -> None:
        self._on_idle = on_idle
        self._lock = threading.Lock()
        self._ready = threading.Condition(self._lock)
        self._with_frame: deque[CameraQueue] = deque()  # cameras with a frame, longest wait first
        self._out: dict[tuple[str, int], Held] = {}
        self._queues: dict[str, CameraQueue] = {}
        self._closed = False

    def queue(self, camera: str, *, keeps_all: bool) -> CameraQueue:
        """The camera's queue; sequence and counts continue those of an earlier camera of this name."""
        with self._lock:
            queue = self._queues.setdefault(camera, CameraQueue(camera=camera, keeps_all=keeps_all))
            queue.keeps_all = keeps_all
            return queue

    def offer(self, queue: CameraQueue, held: Held, *, missed: int) -> None:
        """Add a new frame; `missed` frames before it found no free slot."""
        with self._lock:
            self._count_missed(queue, missed)
            queue.captured += 1
            queue.sequence = held.frame.meta.sequence + 1
            if queue.waiting and not queue.keeps_all:
                queue.superseded += 1
                self._send_home(queue.waiting.popleft())
            queue.waiting.append(held)
            if not queue.queued:
                queue.queued = True
                self._with_frame.append(queue)
                self._ready.notify()

    def tally(self, queue: CameraQueue, *, missed: int, skipped: int, bad: int) -> None:
        """Count frames that were missed, skipped or bad."""
        with self._lock:
            self._count_missed(queue, missed)
            queue.skipped += skipped
            queue.bad += bad

    def came_back(self, queue: CameraQueue) -> None:
        """Count that the camera was reconnected after a loss."""
        with self._lock:
            queue.reconnects += 1

    def take(self, limit: int, *, timeout_s: float) -> list[Frame]:
        """At most `limit` waiting frames: cameras in turn, longest wait first; empty after `timeout_s` or once closed.

        A camera with `keeps_all` may give several. Pixels stay valid until `release`.
        """
        until_s = time.monotonic() + timeout_s
        frames: list[Frame] = []
        with self._lock:
            while not self._with_frame:
                left_s = until_s - time.monotonic()
                if left_s <= 0 or self._closed:
                    return []
                self._ready.wait(left_s)
            while self._with_frame and len(frames) < limit:
                queue = self._with_frame.popleft()
                held = queue.waiting.popleft()
                queue.taken += 1
                self._out[queue.camera, held.frame.meta.sequence] = held
                frames.append(held.frame)
                queue.queued = bool(queue.waiting)
                if queue.queued:
                    self._with_frame.append(queue)
        return frames

    def release(self, frames: Sequence[Frame]) -> None:
        """Give taken frames back, once each, so that their slots can be written again.

        Raises:
            ValueError: a frame was not taken, or was released before.
        """
        with self._lock:
            for frame in frames:
                held = self._out.pop((frame.meta.camera, frame.meta.sequence), None)
                if held is None:
                    raise ValueError(f"frame {frame.meta.sequence} of {frame.meta.camera} is not out: released twice?")
                self._send_home(held)

    def retire(self, home: Home) -> None:
        """The child stops using these slots; frames in them stay valid until released."""
        with self._lock:
            home.sock = None
            home.area.retired = True
            if home.area.idle:
                self._on_idle(home.area)

    def drop_waiting(self, queue: CameraQueue) -> None:
        """The camera was removed or changed: drop and count its waiting frames."""
        with self._lock:
            queue.removed += len(queue.waiting)
            while queue.waiting:
                self._send_home(queue.waiting.popleft())
            if queue.queued:
                self._with_frame.remove(queue)
                queue.queued = False

    def take_back(self, home: Home, slot: int) -> bool:
        """Take a slot from the child; False if the child did not have it."""
        with self._lock:
            if slot not in home.area.with_child:
                return False
            home.area.with_child.discard(slot)
            return True

    def counters(self, queue: CameraQueue) -> CameraCounters:
        """A consistent copy of the camera's counters."""
        with self._lock:
            return CameraCounters(
                captured=queue.captured,
                taken=queue.taken,
                waiting=len(queue.waiting),
                dropped={"superseded": queue.superseded, "no_slot": queue.no_slot, "removed": queue.removed},
                skipped=queue.skipped,
                bad_frames=queue.bad,
                reconnects=queue.reconnects,
            )

    def waiting(self) -> int:
        """Number of cameras that have a frame waiting."""
        with self._lock:
            return len(self._with_frame)

    def close(self) -> None:
        """Every `take` returns at once from now on."""
        with self._lock:
            self._closed = True
            self._ready.notify_all()

    def _count_missed(self, queue: CameraQueue, missed: int) -> None:
        queue.captured += missed
        queue.no_slot += missed
        queue.sequence += missed

    def _send_home(self, held: Held) -> None:
        home = held.home
        home.area.with_child.add(held.slot)
        if home.sock is not None:
            with suppress(OSError):  # the supervisor handles a child that is gone or hangs
                home.sock.send(pack_free(home.area.layout.number, held.slot))
        elif home.area.retired and home.area.idle:
            self._on_idle(home.area)
