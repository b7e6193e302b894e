"""A stand-in for a video device behind `Ioctl`: answers with the kernel's structures, as a UVC camera does."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

CAMERA = 0x0400_0001  # streams pictures
METADATA = 0x04A0_0000
CODEC = 0x0400_8000
PLANES = 0x0400_1000
HIDDEN = 0x8000_0000  # device_caps is valid

QUERYCAP, ENUM_FMT, G_FMT, TRY_FMT, SIZES, INTERVALS = 0, 2, 4, 64, 74, 75

Size = tuple[int, int]
Formats = dict[str, dict[Size, tuple[int, ...]]]
Item = TypeVar("Item")


@dataclass
class Device:
    """A device.

    Attributes:
        formats: by four letters, sizes with their frames per second.
        flags: of the node.
        lists_sizes: false as of a card that takes a TV signal.
        present: its size.
        gone: from this question on it is unplugged.
    """

    formats: Formats
    flags: int = CAMERA
    lists_sizes: bool = True
    present: Size = (720, 576)
    gone: int = 1_000_000
    interrupts: int = 0
    asked: list[int] = field(default_factory=list)

    def __call__(self, _descriptor: int, request: int, room: bytearray) -> int:
        assert request >> 8 & 0xFF == ord("V"), "another kind of device"
        assert request >> 16 & 0x3FFF == len(room), "the kernel refuses another size"
        if self.interrupts:
            self.interrupts -= 1
            raise InterruptedError
        self.asked.append(request & 0xFF)
        if len(self.asked) > self.gone:
            _refuse(errno.ENODEV)
        {QUERYCAP: self._capability, ENUM_FMT: self._format, G_FMT: self._picture, TRY_FMT: self._picture,
         SIZES: self._size, INTERVALS: self._interval}[request & 0xFF](room)  # fmt: skip
        return 0

    def _capability(self, room: bytearray) -> None:
        room[0:9] = b"uvcvideo\0"
        room[16:26] = b"HD Webcam\0"
        room[48:60] = b"usb-0000:1\0\0"
        room[80:92] = struct.pack("=III", 0x060139, HIDDEN | 0x04A0_0001, self.flags)  # version, of the whole, of this

    def _format(self, room: bytearray) -> None:
        index, kind = struct.unpack_from("=II", room)
        assert kind == 1
        room[44:48] = _item(list(self.formats), index).encode()

    def _size(self, room: bytearray) -> None:
        index, letters = struct.unpack_from("=I4s", room)
        sizes = list(self.formats[letters.decode()]) if self.lists_sizes else []
        struct.pack_into("=I2I", room, 8, 1, *_item(sizes, index))

    def _interval(self, room: bytearray) -> None:
        index, letters, width, height = struct.unpack_from("=I4sII", room)
        rates = self.formats[letters.decode()].get((width, height), ())
        struct.pack_into("=I2I", room, 16, 1, 1, _item(rates, index))

    def _picture(self, room: bytearray) -> None:
        assert struct.unpack_from("=I", room)[0] == 1
        struct.pack_into("=II", room, 8 if struct.calcsize("P") == 8 else 4, *self.present)


def _item(values: Sequence[Item], index: int) -> Item:
    if index >= len(values):
        _refuse(errno.EINVAL)
    return values[index]


def _refuse(number: int) -> None:
    raise OSError(number, os.strerror(number))
