"""The messages between a camera's child process and its supervisor: one packet each on a Unix socket pair.

The child is not trusted: it decodes bytes from outside. A packet that does not parse or fit raises `MessageError`,
and that child is killed. Messages that come with every frame are tuples: faster to make than frozen dataclasses.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import NamedTuple

from edged.capture.sources.stream import StreamInfo
from edged.capture.spec import MAX_FPS, MAX_KEY_INTERVAL_S

MAX_PACKET = 16_384
MAX_TEXT = 2_000  # bytes of a reason
MAX_LETTERS = 100  # of a name of a decoder
_FRAME = struct.Struct("<BBHHIIQQIII")
_PULSE = struct.Struct("<BIII")
_WANT = struct.Struct("<BII")
_LOST = struct.Struct("<BB")
_AREA = struct.Struct("<BHHQ")
_FREE = struct.Struct("<BHH")


class MessageError(Exception):
    """A packet that does not follow this protocol."""


class Tag(IntEnum):
    """First byte of a packet."""

    OPENED = 1  # child: the source is open
    WANT = 2  # child: needs slots for pictures of this size
    FRAME = 3  # child: a slot holds a new frame and belongs to the supervisor now
    PULSE = 4  # child: alive, no frame
    LOST = 5  # child: the source failed; exits
    ENDPOINT = 9  # child: the failed source's endpoint, to probe whether it is back; after LOST
    ENDED = 6  # child: the file was played once; exits
    AWAITS = 10  # child: bytes arrive, but no picture
    AREA = 7  # supervisor: new slots, with their descriptor
    FREE = 8  # supervisor: a slot belongs to the child again


@dataclass(frozen=True, slots=True)
class Opened:
    """The source is open."""

    info: StreamInfo


@dataclass(frozen=True, slots=True)
class Want:
    """The child needs slots for pictures of this size, pixels."""

    size_wh: tuple[int, int]


class FrameTally(NamedTuple):
    """Frames counted since the last packet.

    Attributes:
        missed: frames dropped because no slot was free.
        skipped: frames skipped because of pace or fps limit.
        bad: frames damaged or not decodable.
    """

    missed: int
    skipped: int
    bad: int


class NewFrame(NamedTuple):
    """A frame lies in a slot.

    Attributes:
        area: number of the slot area, given by the supervisor.
        slot: index in the area.
        size_wh: pixels.
        wall_ns: wall clock at the grab, nanoseconds since the epoch.
        mono_ns: CLOCK_MONOTONIC at the grab, nanoseconds.
        comparable: whether the picture was compared with the one before.
        same: if comparable, its sample is equal to that of the picture before.
        tally: since the last packet.
    """

    area: int
    slot: int
    size_wh: tuple[int, int]
    wall_ns: int
    mono_ns: int
    comparable: bool
    same: bool
    tally: FrameTally


@dataclass(frozen=True, slots=True)
class Lost:
    """The source failed; `auth`: it refused the credentials."""

    reason: str
    auth: bool


@dataclass(frozen=True, slots=True)
class Awaits:
    """Bytes arrive, but no picture."""

    reason: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Endpoint of the failed source, as `child/resolve.py` gives it."""

    endpoint: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The file was played once."""


@dataclass(frozen=True, slots=True)
class Area:
    """New slots, `slot_bytes` each; the descriptor of their memory comes with the packet."""

    number: int
    count: int
    slot_bytes: int


class Free(NamedTuple):
    """A slot goes back to the child."""

    area: int
    slot: int


FromChild = Opened | Want | NewFrame | FrameTally | Awaits | Lost | Endpoint | Ended


def pack_opened(info: StreamInfo) -> bytes:
    """Opened -> packet."""
    return bytes([Tag.OPENED]) + json.dumps(asdict(info)).encode()


def pack_want(size_wh: tuple[int, int]) -> bytes:
    """Want -> packet."""
    return _WANT.pack(Tag.WANT, *size_wh)


def pack_frame(frame: NewFrame) -> bytes:
    """NewFrame -> packet."""
    flags = int(frame.comparable) | int(frame.same) << 1
    return _FRAME.pack(
        Tag.FRAME, flags, frame.area, frame.slot, *frame.size_wh, frame.wall_ns, frame.mono_ns, *frame.tally
    )


def pack_pulse(tally: FrameTally) -> bytes:
    """FrameTally -> packet."""
    return _PULSE.pack(Tag.PULSE, *tally)


def pack_lost(reason: str, *, auth: bool) -> bytes:
    """Lost -> packet; a reason that is too long loses its end."""
    return _LOST.pack(Tag.LOST, auth) + reason.encode("utf-8", "replace")[:MAX_TEXT]


def pack_awaits(reason: str) -> bytes:
    """Awaits -> packet."""
    return bytes([Tag.AWAITS]) + reason.encode("utf-8", "replace")[:MAX_TEXT]


def pack_endpoint(endpoint: str) -> bytes:
    """Endpoint -> packet."""
    return bytes([Tag.ENDPOINT]) + endpoint.encode("utf-8", "replace")[:MAX_TEXT]


def pack_ended() -> bytes:
    """Ended -> packet."""
    return bytes([Tag.ENDED])


def pack_area(area: Area) -> bytes:
    """Area -> packet."""
    return _AREA.pack(Tag.AREA, area.number, area.count, area.slot_bytes)


def pack_free(area: int, slot: int) -> bytes:
    """Free -> packet."""
    return _FREE.pack(Tag.FREE, area, slot)


def parse_from_child(packet: bytes) -> FromChild:
    """A child's packet -> message.

    Raises:
        MessageError: not one of its packets.
    """
    tag = packet[0] if packet else 0
    try:
        if tag == Tag.FRAME:
            return _parse_frame(packet)
        if tag == Tag.PULSE:
            return FrameTally(*_PULSE.unpack(packet)[1:])
        if tag == Tag.OPENED:
            return Opened(_parse_info(packet[1:]))
        if tag == Tag.WANT:
            return Want(size_wh=_WANT.unpack(packet)[1:])
        if tag == Tag.LOST:
            reason = packet[_LOST.size : _LOST.size + MAX_TEXT].decode("utf-8", "replace")
            return Lost(reason=reason, auth=bool(_LOST.unpack_from(packet)[1]))
        if tag == Tag.ENDPOINT:
            return Endpoint(packet[1 : 1 + MAX_TEXT].decode())
        if tag == Tag.AWAITS:
            return Awaits(packet[1 : 1 + MAX_TEXT].decode("utf-8", "replace"))
    except (struct.error, ValueError, TypeError, LookupError) as exc:
        raise MessageError(f"packet {tag} of {len(packet)} bytes: {exc}") from exc
    if tag == Tag.ENDED:
        return Ended()
    raise MessageError(f"packet {tag} of {len(packet)} bytes is unknown")


def parse_from_supervisor(packet: bytes) -> Area | Free:
    """A supervisor's packet -> message.

    Raises:
        MessageError: not one of its packets.
    """
    try:
        if packet[0] == Tag.FREE:
            return Free(*_FREE.unpack(packet)[1:])
        if packet[0] == Tag.AREA:
            return Area(*_AREA.unpack(packet)[1:])
    except (struct.error, IndexError) as exc:
        raise MessageError(f"packet of {len(packet)} bytes: {exc}") from exc
    raise MessageError(f"packet {packet[0]} of {len(packet)} bytes is unknown")


def _parse_frame(packet: bytes) -> NewFrame:
    _, flags, area, slot, width, height, wall_ns, mono_ns, *tally = _FRAME.unpack(packet)
    return NewFrame(
        area=area,
        slot=slot,
        size_wh=(width, height),
        wall_ns=wall_ns,
        mono_ns=mono_ns,
        comparable=bool(flags & 1),
        same=bool(flags & 2),
        tally=FrameTally(*tally),
    )


def _parse_info(text: bytes) -> StreamInfo:
    raw = json.loads(text)
    fps = float(raw["fps"])
    if not 0 <= fps <= MAX_FPS:
        raise ValueError(f"fps {fps}")
    key_interval_s = float(raw["key_interval_s"])
    if not 0 <= key_interval_s <= MAX_KEY_INTERVAL_S:
        raise ValueError(f"key frames every {key_interval_s} s")
    return StreamInfo(
        decoder=_printable(raw["decoder"]),
        live=bool(raw["live"]),
        fps=fps,
        may_freeze=bool(raw["may_freeze"]),
        transport=_printable(raw["transport"]),
        key_interval_s=key_interval_s,
    )


def _printable(text: object) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in str(text)[:MAX_LETTERS])
