"""Numbers and structures of the kernel's interface to video devices, from its documentation (uapi/v4l, videodev2.h)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

CAPTURE = 0x0000_0001
CAPTURE_PLANES = 0x0000_1000
CODEC = 0x0000_8000 | 0x0000_4000  # memory to memory, with several planes or one
META = 0x0080_0000
STREAMING = 0x0400_0000
_DEVICE_CAPS = 0x8000_0000
_BUFFER_CAPTURE = 1  # V4L2_BUF_TYPE_VIDEO_CAPTURE
DISCRETE = 1
_INTERLACED = frozenset({4, 8, 9})  # both fields in one picture

_CAPABILITY = struct.Struct("=16s32s32sIII12x")
_FORMAT = struct.Struct("=III32sI16x")
_SIZE = struct.Struct("=III24s8x")
_INTERVAL = struct.Struct("=IIIII24s8x")
_STEPS = struct.Struct("=6I")
_PICTURE = struct.Struct("=IIII")  # of v4l2_pix_format: width, height, pixelformat, field
_PICTURE_AT = 8 if struct.calcsize("P") == 8 else 4  # noqa: PLR2004 - a union that holds pointers stands aligned
_PICTURE_BYTES = _PICTURE_AT + 200

_WRITE, _READ = 1, 2


def _request(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | ord("V") << 8 | number


QUERYCAP = _request(_READ, 0, _CAPABILITY.size)
ENUM_FMT = _request(_READ | _WRITE, 2, _FORMAT.size)
G_FMT = _request(_READ | _WRITE, 4, _PICTURE_BYTES)
TRY_FMT = _request(_READ | _WRITE, 64, _PICTURE_BYTES)
ENUM_FRAMESIZES = _request(_READ | _WRITE, 74, _SIZE.size)
ENUM_FRAMEINTERVALS = _request(_READ | _WRITE, 75, _INTERVAL.size)


def fourcc(text: str) -> int:
    """The number of a pixel format: `MJPG` -> 0x47504A4D."""
    return int.from_bytes(text.encode("ascii"), "little")


def fourcc_text(number: int) -> str:
    """A pixel format's four letters, without blanks behind; the number where they cannot be shown."""
    text = (number & 0x7FFF_FFFF).to_bytes(4, "little").decode("latin-1").rstrip()
    return text if text.isascii() and text.isprintable() else f"{number:#010x}"


@dataclass(frozen=True, slots=True)
class Capability:
    """Answer to QUERYCAP.

    Attributes:
        card: the device's name.
        bus: where it is plugged in.
        flags: what this node can do, not its neighbours.
    """

    card: str
    bus: str
    flags: int


@dataclass(frozen=True, slots=True)
class Steps:
    """Least, most and step of widths and heights, or of times between frames; all alike where there is one value."""

    least: tuple[int, int]
    most: tuple[int, int]
    step: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Picture:
    """Answer to G_FMT and TRY_FMT."""

    size_wh: tuple[int, int]
    fourcc: int
    interlaced: bool


def capability_room() -> bytearray:
    """What QUERYCAP is asked with."""
    return bytearray(_CAPABILITY.size)


def capability(answer: bytes) -> Capability:
    """Unpack the answer to QUERYCAP."""
    _driver, card, bus, _version, everything, own = _CAPABILITY.unpack(answer)
    return Capability(_text(card), _text(bus), own if everything & _DEVICE_CAPS else everything)


def format_question(index: int) -> bytearray:
    """What ENUM_FMT is asked with."""
    return bytearray(_FORMAT.pack(index, _BUFFER_CAPTURE, 0, b"", 0))


def pixel_format(answer: bytes) -> int:
    """The pixel format in the answer to ENUM_FMT."""
    return int(_FORMAT.unpack(answer)[4])


def size_question(index: int, pixels: int) -> bytearray:
    """What ENUM_FRAMESIZES is asked with."""
    return bytearray(_SIZE.pack(index, pixels, 0, b""))


def sizes(answer: bytes) -> Steps:
    """The sizes in one answer to ENUM_FRAMESIZES."""
    _index, _pixels, kind, union = _SIZE.unpack(answer)
    values = _STEPS.unpack(union)
    if kind == DISCRETE:
        return Steps(values[:2], values[:2], (1, 1))
    return Steps((values[0], values[3]), (values[1], values[4]), (values[2] or 1, values[5] or 1))


def interval_question(index: int, pixels: int, size_wh: tuple[int, int]) -> bytearray:
    """What ENUM_FRAMEINTERVALS is asked with."""
    return bytearray(_INTERVAL.pack(index, pixels, *size_wh, 0, b""))


def intervals(answer: bytes) -> Steps:
    """The times between frames in one answer to ENUM_FRAMEINTERVALS: numerators and denominators of seconds."""
    *_asked, kind, union = _INTERVAL.unpack(answer)
    values = _STEPS.unpack(union)
    if kind == DISCRETE:
        return Steps(values[:2], values[:2], (0, 1))
    return Steps(values[:2], values[2:4], values[4:])


def picture_question(size_wh: tuple[int, int] = (0, 0), pixels: int = 0) -> bytearray:
    """What G_FMT (nothing given) and TRY_FMT are asked with; the field is left to the driver."""
    room = bytearray(_PICTURE_BYTES)
    struct.pack_into("=I", room, 0, _BUFFER_CAPTURE)
    _PICTURE.pack_into(room, _PICTURE_AT, *size_wh, pixels, 0)
    return room


def picture(answer: bytes) -> Picture:
    """Unpack the answer to G_FMT and TRY_FMT."""
    width, height, pixels, field = _PICTURE.unpack_from(answer, _PICTURE_AT)
    return Picture((width, height), pixels, field in _INTERLACED)


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("utf-8", "replace")
