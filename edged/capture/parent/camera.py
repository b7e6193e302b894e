"""One camera as the supervisor sees it: its child process, deadlines, state and retries after a failure."""

from __future__ import annotations

import selectors
import socket
import time

from edged.capture.boundary.messages import (
    Awaits,
    Ended,
    Endpoint,
    FrameTally,
    FromChild,
    Lost,
    MessageError,
    NewFrame,
    Opened,
    Want,
    pack_area,
    parse_from_child,
)
from edged.capture.boundary.slots import MAX_SIDE
from edged.capture.parent.camera_process import NEVER, CameraProcess, check_frame, receive
from edged.capture.parent.context import Context
from edged.capture.parent.forkserver_client import Event
from edged.capture.parent.frame_hub import CameraQueue, Held, Home
from edged.capture.parent.frozen import FrozenWatch
from edged.capture.parent.retry import Retry
from edged.capture.parent.status import CameraStatus
from edged.capture.sources.once import utc
from edged.capture.spec import CameraSpec
from edged.core.errors import CameraError
from edged.core.states import CameraState, CameraStateName
from edged.core.types import Frame, FrameMeta

GRACE_S = 0.5  # after the child's own time-out, whose message says more than a kill
DEATH_S = 1.0  # after a kill; a child stuck in a driver is not waited for any longer
CHANGED = "changed"  # a verdict: start again with the new spec, without a pause


class Camera:
    """Runs one camera. Every method is called in the supervisor's thread.

    Args:
        spec: the camera.
        queue: takes its frames.
        context: shared with the other cameras.
    """

    def __init__(self, spec: CameraSpec, queue: CameraQueue, context: Context) -> None:
        self.spec = spec
        self.queue = queue
        self.process: CameraProcess | None = None
        self.gone = False
        self._context = context
        self._leaving = False
        self._retry = Retry(lambda failures, auth: context.settings.pause_s(failures, auth=auth), context.selector)
        self._was_online = False
        self._watch = FrozenWatch(spec.frozen_after_s)
        self._status = CameraStatus(spec.name, reconnects=queue.reconnects, tell=context.tell)

    @property
    def state(self) -> CameraState:
        """The camera's present state."""
        return self._status.state

    def change(self, spec: CameraSpec) -> None:
        """Start again with another spec."""
        self.spec = spec
        self._retry.begin_anew()
        self._context.hub.drop_waiting(self.queue)
        self.queue = self._context.hub.queue(spec.name, keeps_all=spec.pace == "fast")
        self._was_online = False
        self._set_state("opening", "changed")
        self._end_process(CHANGED)

    def leave(self) -> None:
        """Stop for good; `gone` is True once the child has ended."""
        self._leaving = True
        self._retry.stop_watching()
        self._end_process("removed")
        self._context.hub.drop_waiting(self.queue)
        self.gone = self.process is None

    def step(self, now_s: float) -> float:
        """Do what is due; returns when to call again, monotonic seconds."""
        process = self.process
        if process is None:
            if self._leaving or self.state.state == "ended":
                return NEVER
            if self._retry.is_due(now_s):
                self._start(now_s)
            return self._retry.next_s if self.process is None else now_s
        if process.sock is None:
            if now_s >= process.death_due_s:
                self._finish("")
                return now_s
            return process.death_due_s
        if now_s >= process.deadline_s:
            self._end_process(self._hung_reason(process))
            return now_s
        return process.deadline_s

    def on_event(self, event: Event) -> None:
        """Handle an event of the fork server about this camera's child."""
        if self.process is None:
            return
        if event.what == "spawned":
            self.process.pid = event.pid
            self.process.deadline_s = time.monotonic() + self.spec.open_timeout_s + GRACE_S
        elif event.what == "exited":
            while self.process.sock is not None and self.on_readable():
                pass  # its last packets may still be in the socket
            self._end_process(event.why)
            self._finish(event.why)

    def forkserver_died(self) -> None:
        """The fork server died, and the child with it."""
        if self.process is not None:
            self._end_process("the capture service died")
            self._finish("")

    def on_readable(self) -> bool:
        """Handle one packet of the child; False when there was none."""
        process = self.process
        if process is None or process.sock is None:
            return False
        try:
            packet = receive(process.sock)
        except BlockingIOError:
            return False
        if not packet:
            self._end_process("")
            return False
        try:
            self._handle(process, process.sock, parse_from_child(packet))
        except MessageError as exc:
            self._end_process(f"the capture process sent garbage ({exc}) and was killed")
        except OSError as exc:
            self._end_process(f"no memory for frames: {exc.strerror}")
        return True

    def _handle(self, process: CameraProcess, sock: socket.socket, message: FromChild) -> None:
        now_s = time.monotonic()
        if isinstance(message, NewFrame):
            self._take_frame(process, message, now_s)
        elif isinstance(message, FrameTally):
            self._count(message)
        elif isinstance(message, Want):
            self._give_slots(process, sock, message.size_wh)
        elif isinstance(message, Opened):
            if not process.opened:  # said again where more is known
                process.opened = True
                self._watch = FrozenWatch(self.spec.frozen_after_s if message.info.may_freeze else 0.0)
            self._status.opened(message.info)
        elif isinstance(message, Awaits):
            self._set_state("opening" if self.state.state == "opening" else "offline", message.reason)
        elif isinstance(message, Endpoint):
            process.endpoint = message.endpoint
        else:
            process.outcome = message
            if isinstance(message, Lost):  # reported at once: the child may still be resolving a name
                self._set_state("offline", message.reason)
        patience_s = self.spec.read_timeout_s if process.opened else self.spec.open_timeout_s
        process.deadline_s = now_s + patience_s + GRACE_S

    def _take_frame(self, process: CameraProcess, new: NewFrame, now_s: float) -> None:
        home = process.home
        if home is None or home.area.layout.number != new.area:
            raise MessageError("a frame in slots that it does not have")
        check_frame(new, home, now_s)
        hub = self._context.hub
        if not hub.take_back(home, new.slot):
            raise MessageError(f"a frame in slot {new.slot}, which is not its own")
        meta = FrameMeta(
            camera=self.spec.name,
            sequence=self.queue.sequence + new.tally.missed,
            captured_at=utc(new.wall_ns),
            captured_ns=new.mono_ns,
            size_wh=new.size_wh,
        )
        frame = Frame(meta=meta, pixels=home.area.view(new.slot, new.size_wh))
        hub.offer(self.queue, Held(frame=frame, home=home, slot=new.slot), missed=new.tally.missed)
        if new.tally.skipped or new.tally.bad:
            self._count(new.tally._replace(missed=0))
        self._note_alive(process, new, now_s)

    def _note_alive(self, process: CameraProcess, new: NewFrame, now_s: float) -> None:
        if process.online_s == NEVER:
            process.online_s = now_s
            if self._was_online:
                self._context.hub.came_back(self.queue)
            self._was_online = True
        if new.comparable:
            self._watch.add(now_s, same=new.same)
        if self._watch.frozen:
            self._set_state("frozen", f"the picture has stood still for {self.spec.frozen_after_s:g} s", new.size_wh)
        else:
            self._set_state("online", "", new.size_wh)

    def _count(self, tally: FrameTally) -> None:
        self._context.hub.tally(self.queue, missed=tally.missed, skipped=tally.skipped, bad=tally.bad)

    def _give_slots(self, process: CameraProcess, sock: socket.socket, size_wh: tuple[int, int]) -> None:
        width, height = size_wh
        if not (0 < width < MAX_SIDE and 0 < height < MAX_SIDE and width * height <= self.spec.max_pixels):
            raise MessageError(f"pictures of {width}x{height}")
        self._retire_slots(process)
        area = self._context.new_area(self.spec.name, number=process.areas % MAX_SIDE, picture_bytes=width * height * 3)
        process.areas += 1
        process.home = Home(area=area, sock=sock)
        socket.send_fds(sock, [pack_area(area.layout)], [area.descriptor])
        area.close_descriptor()

    def _retire_slots(self, process: CameraProcess) -> None:
        if process.home is not None:
            self._context.hub.retire(process.home)
            process.home = None

    def _start(self, now_s: float) -> None:
        if self._context.forkserver is None:  # not the camera's fault: the supervisor starts it again
            self._retry.postpone(now_s)
            return
        try:
            token, sock = self._context.spawn(self.spec)
        except CameraError as exc:
            self._fail(str(exc), auth=False, now_s=now_s)
            return
        self._retry.stop_watching()
        self.process = CameraProcess(token=token, sock=sock)
        self._context.selector.register(sock, selectors.EVENT_READ, self.on_readable)

    def _end_process(self, verdict: str) -> None:
        """Close the socket and have the child killed, if that was not done yet."""
        process = self.process
        if process is None:
            return
        if process.sock is None:
            process.verdict = verdict if verdict == CHANGED else process.verdict
            return
        process.verdict = verdict
        self._retire_slots(process)
        self._context.selector.unregister(process.sock)
        process.sock.close()
        process.sock = None
        process.death_due_s = time.monotonic() + DEATH_S
        self._context.kill(process.token)

    def _finish(self, why: str) -> None:
        """The child has ended, or is not waited for any longer: decide what comes next."""
        process, self.process = self.process, None
        if process is None or self._leaving:
            self.gone = True
            return
        now_s = time.monotonic()
        if process.verdict == CHANGED:
            return
        if isinstance(process.outcome, Ended):
            self._set_state("ended", "played to its end")
            return
        if now_s - process.online_s >= self._context.settings.steady_s:
            self._retry.forget_failures()
        lost = process.outcome
        reason = lost.reason if lost else process.verdict or why or "the capture process ended without a word"
        auth = lost is not None and lost.auth
        self._fail(reason, auth=auth, now_s=now_s)
        if process.endpoint and not auth:
            self._retry.watch(process.endpoint)

    def _fail(self, reason: str, *, auth: bool, now_s: float) -> None:
        self._retry.failed(now_s, auth=auth)
        self._set_state("offline", reason)

    def _set_state(self, name: CameraStateName, reason: str, size_wh: tuple[int, int] | None = None) -> None:
        self._status.change(name, reason, reconnects=self.queue.reconnects, size_wh=size_wh)

    def _hung_reason(self, process: CameraProcess) -> str:
        read, opened = f"{self.spec.read_timeout_s:g} s", f"{self.spec.open_timeout_s:g} s"
        return f"{self.spec.shown_source} " + (
            f"gave no frame for {read}" if process.opened else f"did not open within {opened}"
        )
