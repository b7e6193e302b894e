"""One camera's life as the supervisor sees it: its child, its deadlines, its state, its way back after a failure."""

from __future__ import annotations

import logging
import selectors
import socket
import time
from dataclasses import replace
from datetime import datetime, timezone

from edged.capture.exchange import Held, Home, Lane
from edged.capture.frozen import FrozenWatch
from edged.capture.launcher import Event
from edged.capture.link import NEVER, Link, check_frame, receive
from edged.capture.office import Office
from edged.capture.retry import Retry
from edged.capture.slots import MAX_SIDE
from edged.capture.source import utc
from edged.capture.spec import CameraSpec
from edged.capture.wire import (
    Awaits,
    Ended,
    FromChild,
    Lost,
    NewFrame,
    Opened,
    Place,
    Tally,
    Want,
    WireError,
    pack_area,
    parse_from_child,
)
from edged.core.errors import CameraError
from edged.core.redact import redact
from edged.core.states import CameraState, CameraStateName
from edged.core.types import Frame, FrameMeta

logger = logging.getLogger(__name__)

GRACE_S = 0.5  # the child's own time-out comes first: its message says more than a kill
DEATH_S = 1.0  # after a kill; a child stuck in a driver is not waited for any longer
CHANGED = "changed"  # a verdict: begin again with the new spec, without a pause


class Camera:
    """Runs one camera. Every method is called in the supervisor's thread.

    Args:
        spec: the camera.
        lane, office: where its frames go; shared with the other cameras.
    """

    def __init__(self, spec: CameraSpec, lane: Lane, office: Office) -> None:
        self.spec = spec
        self.lane = lane
        self.link: Link | None = None
        self.gone = False
        self._office = office
        self._leaving = False
        self._retry = Retry(lambda failures, auth: office.settings.pause_s(failures, auth=auth), office.selector)
        self._was_online = False
        self._watch = FrozenWatch(spec.frozen_after_s)
        self.state = CameraState(camera=spec.name, state="opening", reason="", since=_now(), reconnects=lane.reconnects)
        office.tell(self.state)

    def change(self, spec: CameraSpec) -> None:
        """Go on with another spec, from its first frame."""
        self.spec = spec
        self._retry.begin_anew()
        self._office.exchange.drop_waiting(self.lane)
        self.lane = self._office.exchange.lane(spec.name, keeps_all=spec.pace == "fast")
        self._was_online = False
        self._set_state("opening", "changed")
        self._end_link(CHANGED)

    def leave(self) -> None:
        """Stop for good; `gone` once the child is."""
        self._leaving = True
        self._retry.stop_listening()
        self._end_link("removed")
        self._office.exchange.drop_waiting(self.lane)
        self.gone = self.link is None

    def step(self, now_s: float) -> float:
        """Do what is due; returns when to come back."""
        link = self.link
        if link is None:
            if self._leaving or self.state.state == "ended":
                return NEVER
            if self._retry.is_due(now_s):
                self._start(now_s)
            return self._retry.next_s if self.link is None else now_s
        if link.sock is None:
            if now_s >= link.death_due_s:
                self._finish("")
                return now_s
            return link.death_due_s
        if now_s >= link.deadline_s:
            self._end_link(self._hung_reason(link))
            return now_s
        return link.deadline_s

    def on_event(self, event: Event) -> None:
        """The nursery says something of our child."""
        if self.link is None:
            return
        if event.what == "spawned":
            self.link.pid = event.pid
            self.link.deadline_s = time.monotonic() + self.spec.open_timeout_s + GRACE_S
        elif event.what == "exited":
            while self.link.sock is not None and self.on_readable():
                pass  # its last words may still lie in the socket
            self._end_link(event.why)
            self._finish(event.why)

    def nursery_died(self) -> None:
        """Our child died with it."""
        if self.link is not None:
            self._end_link("the capture service died")
            self._finish("")

    def on_readable(self) -> bool:
        """Take in one packet; False when there was none."""
        link = self.link
        if link is None or link.sock is None:
            return False
        try:
            packet = receive(link.sock)
        except BlockingIOError:
            return False
        if not packet:
            self._end_link("")
            return False
        try:
            self._handle(link, link.sock, parse_from_child(packet))
        except WireError as exc:
            self._end_link(f"the capture process sent garbage ({exc}) and was killed")
        except OSError as exc:
            self._end_link(f"no memory for frames: {exc.strerror}")
        return True

    def _handle(self, link: Link, sock: socket.socket, message: FromChild) -> None:
        now_s = time.monotonic()
        link.deadline_s = now_s + self.spec.read_timeout_s + GRACE_S
        if isinstance(message, NewFrame):
            self._take_frame(link, message, now_s)
        elif isinstance(message, Tally):
            self._count(message)
        elif isinstance(message, Want):
            self._give_slots(link, sock, message.size_wh)
        elif isinstance(message, Opened):
            link.opened = True
            self._watch = FrozenWatch(self.spec.frozen_after_s if message.info.may_freeze else 0.0)
            self.state = replace(self.state, decoder=message.info.decoder, fps=message.info.fps)
        elif isinstance(message, Awaits):
            self._set_state("opening" if self.state.state == "opening" else "offline", _shown(message.reason))
        elif isinstance(message, Place):
            link.place = message.place
        else:
            link.outcome = message
            if isinstance(message, Lost):  # told at once: the child may still be busy resolving a name
                self._set_state("offline", _shown(message.reason))

    def _take_frame(self, link: Link, new: NewFrame, now_s: float) -> None:
        home = link.home
        if home is None or home.area.layout.number != new.area:
            raise WireError("a frame in slots that it does not have")
        check_frame(new, home, now_s)
        exchange = self._office.exchange
        if not exchange.take_back(home, new.slot):
            raise WireError(f"a frame in slot {new.slot}, which is not its own")
        meta = FrameMeta(
            camera=self.spec.name,
            sequence=self.lane.sequence + new.tally.missed,
            captured_at=utc(new.wall_ns),
            captured_ns=new.mono_ns,
            size_wh=new.size_wh,
        )
        frame = Frame(meta=meta, pixels=home.area.view(new.slot, new.size_wh))
        exchange.offer(self.lane, Held(frame=frame, home=home, slot=new.slot), missed=new.tally.missed)
        if new.tally.skipped or new.tally.bad:
            self._count(new.tally._replace(missed=0))
        self._note_alive(link, new, now_s)

    def _note_alive(self, link: Link, new: NewFrame, now_s: float) -> None:
        if link.online_s == NEVER:
            link.online_s = now_s
            if self._was_online:
                self._office.exchange.came_back(self.lane)
            self._was_online = True
        if new.comparable:
            self._watch.add(now_s, same=new.same)
        if self._watch.frozen:
            self._set_state("frozen", f"the picture has stood still for {self.spec.frozen_after_s:g} s", new.size_wh)
        else:
            self._set_state("online", "", new.size_wh)

    def _count(self, tally: Tally) -> None:
        self._office.exchange.tally(self.lane, missed=tally.missed, skipped=tally.skipped, bad=tally.bad)

    def _give_slots(self, link: Link, sock: socket.socket, size_wh: tuple[int, int]) -> None:
        width, height = size_wh
        if not (0 < width < MAX_SIDE and 0 < height < MAX_SIDE and width * height <= self.spec.max_pixels):
            raise WireError(f"pictures of {width}x{height}")
        self._retire_slots(link)
        area = self._office.new_area(self.spec.name, number=link.areas % MAX_SIDE, picture_bytes=width * height * 3)
        link.areas += 1
        link.home = Home(area=area, sock=sock)
        socket.send_fds(sock, [pack_area(area.layout)], [area.descriptor])
        area.close_descriptor()

    def _retire_slots(self, link: Link) -> None:
        if link.home is not None:
            self._office.exchange.retire(link.home)
            link.home = None

    def _start(self, now_s: float) -> None:
        if self._office.launcher is None:  # no fault of the camera's: it is started anew by and by
            self._retry.postpone(now_s)
            return
        try:
            token, sock = self._office.spawn(self.spec)
        except CameraError as exc:
            self._fail(str(exc), auth=False, now_s=now_s)
            return
        self._retry.stop_listening()
        self.link = Link(token=token, sock=sock)
        self._office.selector.register(sock, selectors.EVENT_READ, self.on_readable)

    def _end_link(self, verdict: str) -> None:
        """Hang up and have the child killed, if it is not dead yet."""
        link = self.link
        if link is None:
            return
        if link.sock is None:
            link.verdict = verdict if verdict == CHANGED else link.verdict
            return
        link.verdict = verdict
        self._retire_slots(link)
        self._office.selector.unregister(link.sock)
        link.sock.close()
        link.sock = None
        link.death_due_s = time.monotonic() + DEATH_S
        self._office.kill(link.token)

    def _finish(self, why: str) -> None:
        """The child is gone, or given up."""
        link, self.link = self.link, None
        if link is None or self._leaving:
            self.gone = True
            return
        now_s = time.monotonic()
        if link.verdict == CHANGED:
            return
        if isinstance(link.outcome, Ended):
            self._set_state("ended", "played to its end")
            return
        if now_s - link.online_s >= self._office.settings.steady_s:
            self._retry.forget_failures()
        lost = link.outcome
        reason = lost.reason if lost else link.verdict or why or "the capture process ended without a word"
        auth = lost is not None and lost.auth
        self._fail(reason, auth=auth, now_s=now_s)
        if link.place and not auth:
            self._retry.listen(link.place)

    def _fail(self, reason: str, *, auth: bool, now_s: float) -> None:
        self._retry.failed(now_s, auth=auth)
        self._set_state("offline", _shown(reason))

    def _set_state(self, name: CameraStateName, reason: str, size_wh: tuple[int, int] | None = None) -> None:
        before = self.state
        size_wh = size_wh or before.size_wh
        if (name, reason, size_wh) == (before.state, before.reason, before.size_wh):
            return
        since = before.since if name == before.state else _now()
        self.state = replace(
            before, state=name, reason=reason, since=since, size_wh=size_wh, reconnects=self.lane.reconnects
        )
        if (name, reason) != (before.state, before.reason):
            level = logging.WARNING if name in {"offline", "frozen"} else logging.INFO
            said = (self.spec.name, name, reason) if reason else (self.spec.name, name)
            line = "camera %s: %s: %s" if reason else "camera %s: %s"
            logger.log(level, line, *said, extra={"CAMERA": self.spec.name, "STATE": name})
        self._office.tell(self.state)

    def _hung_reason(self, link: Link) -> str:
        read, opened = f"{self.spec.read_timeout_s:g} s", f"{self.spec.open_timeout_s:g} s"
        return f"{self.spec.shown_source} " + (
            f"gave no frame for {read}" if link.opened else f"did not open within {opened}"
        )


def _now() -> datetime:
    return datetime.now(tz=timezone.utc)


def _shown(reason: str) -> str:
    return " ".join(redact(reason).split())[:500]
