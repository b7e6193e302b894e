"""A camera's child process: reads its source, writes frames into free slots, reports to the supervisor."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time

from edged.capture.boundary.messages import (
    MAX_PACKET,
    FrameTally,
    Free,
    NewFrame,
    pack_awaits,
    pack_ended,
    pack_endpoint,
    pack_frame,
    pack_lost,
    pack_opened,
    pack_pulse,
    pack_want,
    parse_from_supervisor,
)
from edged.capture.boundary.slots import SlotWindow
from edged.capture.child.fingerprint import fingerprint
from edged.capture.child.resolve import resolve
from edged.capture.sources.reader import FrameReader, Moment
from edged.capture.sources.stream import RefusedError, StreamInfo
from edged.capture.spec import CameraSpec
from edged.core.errors import CameraError, DataError
from edged.core.redact import redact
from edged.core.types import Pixels

PAIRS = 40  # of pictures compared per `frozen_after_s`: a sample costs one cache miss per point
PULSE_S = 0.5  # a child without a frame sends a packet this often, else it counts as hung


class SupervisorGone(Exception):
    """The supervisor closed the socket."""


def run(sock: socket.socket, spec: CameraSpec) -> None:
    """Read the camera until its source ends or fails, or the supervisor hangs up. Silences stdout and stderr."""
    _silence()
    worker = Worker(sock, spec)
    with contextlib.suppress(SupervisorGone, BrokenPipeError, ConnectionResetError):
        try:
            worker.work()
        except CameraError as exc:
            # Redacted before it is cut to a packet: half a password would not be recognised.
            sock.send(pack_lost(redact(str(exc)), auth=isinstance(exc, RefusedError)))
            sock.send(pack_endpoint(resolve(spec.source)))  # may take long; the supervisor may kill it meanwhile
        except (SupervisorGone, BrokenPipeError, ConnectionResetError):
            raise
        except Exception as exc:  # noqa: BLE001 - stderr is redirected: only this can report it
            sock.send(pack_lost(redact(f"internal error: {type(exc).__name__}: {exc}"), auth=False))


class Worker:
    """The loop of the child.

    Args:
        sock: to the supervisor, SOCK_SEQPACKET, blocking.
        spec: the camera.
    """

    def __init__(self, sock: socket.socket, spec: CameraSpec) -> None:
        self._sock = sock
        self._spec = spec
        self._slots: SlotWindow | None = None
        self._size_wh = (0, 0)
        self._info: StreamInfo | None = None
        self._reader: FrameReader | None = None  # while it opens there is none
        self._print = b""  # of the first picture of a pair
        self._pair_due_s = 0.0
        self._missed = 0
        self._told = FrameTally(0, 0, 0)
        self._spoke_s = time.monotonic()
        self._complained_s = 0.0

    def work(self) -> None:
        """Read and deliver frames until the source ends.

        Raises:
            CameraError: the source failed.
            SupervisorGone: the supervisor hung up.
        """
        with contextlib.closing(FrameReader(self._spec, idle=self._idle, awaits=self._await)) as reader:
            self._reader = reader
            self._watched = reader.info.may_freeze and self._spec.frozen_after_s > 0
            self._tell_info()
            while (moment := reader.advance()) is not None:
                self._tell_info()
                self._deliver(moment)
                self._pulse_if_silent()
            self._send(pack_pulse(self._tally()))
            self._send(pack_ended())

    def _tell_info(self) -> None:
        """Say what is being read, and again where more of it is known."""
        info = self._open.info
        if info != self._info:
            self._info = info
            self._send(pack_opened(info))

    def _deliver(self, moment: Moment) -> None:
        """Put one grabbed frame into a slot and announce it, or count it as missed or bad."""
        self._listen(0.0)
        while self._slots is not None and not self._slots.free:
            if not self._open.waits:
                self._missed += 1
                return
            self._idle(PULSE_S)
        try:
            pixels = self._retrieve()
        except DataError:
            return  # counted by the reader
        slot = self._place(pixels)
        same = self._same_as_before(pixels, moment.mono_ns / 1e9)
        frame = NewFrame(
            area=self._window.layout.number,
            slot=slot,
            size_wh=self._size_wh,
            wall_ns=moment.wall_ns,
            mono_ns=moment.mono_ns,
            comparable=same is not None,
            same=bool(same),
            tally=self._tally(),
        )
        self._window.free.discard(slot)
        self._send(pack_frame(frame))

    @property
    def _open(self) -> FrameReader:
        if self._reader is None:
            raise CameraError("internal: nothing is open")
        return self._reader

    @property
    def _window(self) -> SlotWindow:
        if self._slots is None:
            raise CameraError("internal: no slots")
        return self._slots

    def _retrieve(self) -> Pixels:
        """Decode the frame, straight into the next free slot if the size is as before."""
        if self._slots is None:
            return self._open.retrieve(None)
        return self._open.retrieve(self._slots.view(min(self._slots.free), self._size_wh))

    def _place(self, pixels: Pixels) -> int:
        """Return the slot that holds the picture; copies it only if the decoder did not write there."""
        self._size_wh = (pixels.shape[1], pixels.shape[0])
        if self._slots is None or pixels.nbytes > self._slots.layout.slot_bytes:
            self._want_slots()
        slot = min(self._window.free)  # the lowest: untouched slots cost no memory
        view = self._window.view(slot, self._size_wh)
        if view is not pixels:
            view[:] = pixels
        return slot

    def _want_slots(self) -> None:
        before = self._slots
        self._send(pack_want(self._size_wh))
        while self._slots is before:
            self._idle(PULSE_S)

    def _same_as_before(self, pixels: Pixels, now_s: float) -> bool | None:
        """Whether this picture's sample equals that of the one before; None where they are not compared."""
        due = self._watched and now_s >= self._pair_due_s
        if not (due or self._print):
            return None
        before, ours = self._print, fingerprint(pixels)
        if due:  # where pictures are rarer than pairs, each is compared with the one before
            self._pair_due_s = now_s + self._spec.frozen_after_s / PAIRS
        self._print = ours if due else b""
        return before == ours if before else None

    def _tally(self) -> FrameTally:
        """Counts since the last packet."""
        if self._reader is None:
            return FrameTally(0, 0, 0)
        bad = self._reader.bad + self._reader.damaged
        now = FrameTally(self._missed, self._reader.skipped, bad)
        told, self._told = self._told, now
        return FrameTally(now.missed - told.missed, now.skipped - told.skipped, now.bad - told.bad)

    def _idle(self, seconds: float) -> None:
        """Wait, but listen to the supervisor and send pulses; may return early."""
        self._listen(min(seconds, PULSE_S))
        self._pulse_if_silent()

    def _pulse_if_silent(self) -> None:
        if time.monotonic() - self._spoke_s >= PULSE_S:
            self._pulse()

    def _pulse(self) -> None:
        self._send(pack_pulse(self._tally()))

    def _await(self, reason: str, silent_s: float) -> None:
        """The source sends, but no picture: report that if it lasts, so that this process does not count as hung."""
        self._listen(0.0)
        now_s = time.monotonic()
        if silent_s >= self._spec.silence_s and now_s - self._complained_s >= PULSE_S:
            self._complained_s = now_s
            self._send(pack_awaits(reason))
        self._pulse_if_silent()

    def _send(self, packet: bytes) -> None:
        self._sock.sendall(packet)
        self._spoke_s = time.monotonic()

    def _listen(self, seconds: float) -> None:
        """Handle packets of the supervisor; waits up to `seconds` for the first."""
        while select.select([self._sock], [], [], seconds)[0]:
            seconds = 0.0
            packet, descriptors, _, _ = socket.recv_fds(self._sock, MAX_PACKET, 1)
            if not packet:
                raise SupervisorGone
            message = parse_from_supervisor(packet)
            if not isinstance(message, Free):
                if not descriptors:
                    raise CameraError("internal: slots came without their memory")
                self._slots = SlotWindow(descriptors[0], message)
            elif self._slots is not None and message.area == self._slots.layout.number:
                self._slots.free.add(message.slot)


def _silence() -> None:
    """Keep what libraries print (GStreamer, drivers) out of the daemon's log, where secrets are removed."""
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)
