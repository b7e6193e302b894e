"""The one thread that runs all cameras: sockets, deadlines, retries, the forkserver process."""

from __future__ import annotations

import logging
import os
import selectors
import threading
import time
from collections.abc import Callable, Sequence

from edged.capture.parent.camera import Camera
from edged.capture.parent.context import CaptureSettings, Context, SlotWatcher
from edged.capture.parent.forkserver_client import Event, ForkserverClient
from edged.capture.spec import CameraSpec
from edged.core.errors import CameraError
from edged.core.pulse import Pulse
from edged.core.states import CameraState

logger = logging.getLogger(__name__)

LEAST_CHECK_S = 0.05  # between two checks of deadlines, however many frames come
LONGEST_SLEEP_S = 1.0
ANSWER_S = 5.0
SILENT_S = 20.0  # a thread that takes this long for one turn hangs
FORKSERVER_FIRST_S = 1.0
FORKSERVER_MAX_S = 30.0


class Supervisor:
    """Owns the thread, the forkserver and every camera.

    Args:
        settings: how cameras are run.
        on_state: called with each new state of a camera, in this thread.
        watcher: told of slot memory, in this thread.
    """

    def __init__(
        self, settings: CaptureSettings, *, on_state: Callable[[CameraState], None], watcher: SlotWatcher | None
    ) -> None:
        self._wake_lock = threading.Lock()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.context = Context(settings, on_state=on_state, watcher=watcher, wake=self.wake)
        self._lock = threading.Lock()
        self._wanted: tuple[CameraSpec, ...] | None = None
        self._applied = threading.Event()
        self._closing = False
        self._cameras: dict[str, Camera] = {}
        self._leaving: list[Camera] = []
        self._next_check_s = 0.0
        self._forkserver_failures = 0
        self._forkserver_due_s = 0.0
        self.failure: BaseException | None = None
        self.pulse = Pulse()
        self._thread = threading.Thread(target=self._run, name="cameras", daemon=True)

    def start(self) -> None:
        """Start the thread; returns when it has taken over the cameras, or after `ANSWER_S` with a warning."""
        self._thread.start()
        self._await_applied()

    def _await_applied(self) -> None:
        if not self._applied.wait(ANSWER_S):
            # They run as soon as the thread gets to it; a thread that hangs is noticed by its pulse.
            logger.warning(
                "capture: the cameras are not taken over within %g s; they will be when the thread moves on", ANSWER_S
            )

    @property
    def pending(self) -> bool:
        """Whether `cameras` does not give those of the last `want` yet."""
        return not self._applied.is_set()

    def wake(self) -> None:
        """Wake the thread (any thread)."""
        with self._wake_lock:
            if self._wake_fd >= 0:
                os.eventfd_write(self._wake_fd, 1)

    def want(self, specs: Sequence[CameraSpec]) -> None:
        """Run exactly these cameras; returns when they were taken over, or after `ANSWER_S` with a warning.

        A call from a listener, in the supervisor's own thread, returns at once.
        """
        with self._lock:
            self._wanted = tuple(specs)
            self._applied.clear()
        self.wake()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._await_applied()

    def cameras(self) -> dict[str, Camera]:
        """By name; a copy, for reading only."""
        with self._lock:
            return dict(self._cameras)

    def close(self) -> None:
        """End every child and the thread."""
        self._closing = True
        if self._thread.is_alive():
            self.wake()
            self._thread.join()
        else:
            self.context.close()
        with self._wake_lock:
            if self._wake_fd >= 0:
                os.close(self._wake_fd)
            self._wake_fd = -1

    def _run(self) -> None:
        try:
            self.context.selector.register(self._wake_fd, selectors.EVENT_READ, self._on_wake)
            while not self._closing:
                self.pulse.beat(within_s=SILENT_S)
                self._turn()
        except BaseException as exc:  # `Cameras.take` raises it: no frame will come any more
            logger.exception("capture: the supervisor failed")
            self.failure = exc
        finally:
            self.pulse.end()
            self._shut_down()

    def _turn(self) -> None:
        self._apply_wanted()
        self.context.let_idle_areas_go()
        now_s = time.monotonic()
        timeout_s = max(self._next_check_s - now_s, 0.0)
        for key, _ in self.context.selector.select(timeout_s):
            key.data()
        # Only now: a message that arrived in time must not count as late because this thread was delayed.
        now_s = time.monotonic()
        if now_s >= self._next_check_s:
            self._check(now_s)

    def _check(self, now_s: float) -> None:
        due_s = now_s + LONGEST_SLEEP_S
        self._check_forkserver(now_s)
        for camera in (*self._cameras.values(), *self._leaving):
            due_s = min(due_s, camera.step(now_s))
        self._leaving = [camera for camera in self._leaving if not camera.gone]
        self._next_check_s = max(due_s, now_s + LEAST_CHECK_S)

    def _apply_wanted(self) -> None:
        with self._lock:
            wanted, self._wanted = self._wanted, None
        if wanted is None:
            return
        before = self._cameras
        now = {spec.name: self._applied_to(spec, before.get(spec.name)) for spec in wanted}
        for name in before.keys() - now.keys():
            before[name].leave()
            self._leaving.append(before[name])
        self._next_check_s = 0.0
        with self._lock:
            self._cameras = now
            if self._wanted is None:  # else `want` was called again meanwhile
                self._applied.set()

    def _applied_to(self, spec: CameraSpec, camera: Camera | None) -> Camera:
        if camera is None:
            queue = self.context.hub.queue(spec.name, keeps_all=spec.pace == "fast")
            return Camera(spec, queue, self.context)
        if camera.spec != spec:
            camera.change(spec)
        return camera

    def _check_forkserver(self, now_s: float) -> None:
        forkserver = self.context.forkserver
        if forkserver is not None and forkserver.overdue:
            self._lose_forkserver("does not answer")
        if self.context.forkserver is None and now_s >= self._forkserver_due_s:
            self._start_forkserver(now_s)

    def _start_forkserver(self, now_s: float) -> None:
        try:
            forkserver = ForkserverClient()
        except (CameraError, OSError) as exc:
            logger.warning("capture: %s", exc)
            self._postpone_forkserver(now_s)
            return
        self.context.forkserver = forkserver
        self.context.selector.register(forkserver.socket, selectors.EVENT_READ, self._on_forkserver)

    def _lose_forkserver(self, why: str) -> None:
        forkserver, self.context.forkserver = self.context.forkserver, None
        if forkserver is None:
            return
        logger.warning("capture: the forkserver process %s; restarting it", why)
        self.context.selector.unregister(forkserver.socket)
        forkserver.close(patience_s=0.0)
        self._postpone_forkserver(time.monotonic())
        for camera in (*self._cameras.values(), *self._leaving):
            camera.forkserver_died()

    def _postpone_forkserver(self, now_s: float) -> None:
        self._forkserver_due_s = now_s + min(FORKSERVER_FIRST_S * 2.0**self._forkserver_failures, FORKSERVER_MAX_S)
        self._forkserver_failures = min(self._forkserver_failures + 1, 16)

    def _on_forkserver(self) -> None:
        forkserver = self.context.forkserver
        if forkserver is None:
            return
        try:
            event = forkserver.receive()
        except BlockingIOError:
            return
        if event is None:
            self._lose_forkserver("died")
        elif event.what == "ready":
            self._forkserver_failures = 0
        else:
            self._pass_on(event)

    def _pass_on(self, event: Event) -> None:
        for camera in (*self._cameras.values(), *self._leaving):
            if camera.process is not None and camera.process.token == event.token:
                camera.on_event(event)
                self._next_check_s = 0.0
                return

    def _on_wake(self) -> None:
        os.eventfd_read(self._wake_fd)

    def _shut_down(self) -> None:
        for camera in self._cameras.values():
            camera.leave()
        forkserver, self.context.forkserver = self.context.forkserver, None
        if forkserver is not None:
            self.context.selector.unregister(forkserver.socket)
            forkserver.close(patience_s=2.0)
        self.context.close()
        self._applied.set()
