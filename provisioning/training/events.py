"""Writes TensorBoard's event files without TensorBoard; only scalars.

Format: TFRecord framing (length, its masked CRC-32C, data, its masked CRC-32C) around the protobuf messages Event and
Summary.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path

from edged.core.errors import EdgedError

_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), reflected
_MASK = 0xA282EAD8
_DOUBLE, _LENGTH, _FLOAT, _VARINT = 1, 2, 5, 0  # protobuf wire types


class EventFile:
    """The event file of a run; it can be read while it is written.

    Args:
        folder: made if it does not exist; each start of a run adds a file.

    Raises:
        EdgedError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        now = time.time()
        self._path = folder / f"events.out.tfevents.{int(now)}.{socket.gethostname()}.{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise EdgedError(f"{folder} cannot be written: {exc.strerror}") from exc
        self._append(_double(1, now) + _bytes(3, b"brain.Event:2"))

    def scalars(self, values: Mapping[str, float], *, step: int) -> None:
        """Write the values, by tag, of one step.

        Raises:
            EdgedError: the file cannot be written.
        """
        items = [_bytes(1, _bytes(1, tag.encode()) + _float(2, value)) for tag, value in values.items()]
        self._append(_double(1, time.time()) + _varint(2, step) + _bytes(5, b"".join(items)))

    def _append(self, event: bytes) -> None:
        length = struct.pack("<Q", len(event))
        record = length + _masked(length) + event + _masked(event)
        try:
            with self._path.open("ab") as file:
                file.write(record)
        except OSError as exc:
            raise EdgedError(f"{self._path} cannot be written: {exc.strerror}", remedy="free some space") from exc


def crc32c(data: bytes) -> int:
    """CRC-32C of `data` (RFC 3720, appendix B.4)."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def _table_entry(number: int) -> int:
    for _ in range(8):
        number = (number >> 1) ^ (_POLYNOMIAL if number & 1 else 0)
    return number


_TABLE = tuple(_table_entry(number) for number in range(256))


def _masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF)


def _key(field: int, wire: int) -> bytes:
    return bytes([field << 3 | wire])


def _raw_varint(number: int) -> bytes:
    parts = []
    while number > 0x7F:  # noqa: PLR2004  # seven bits a byte
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def _varint(field: int, number: int) -> bytes:
    return _key(field, _VARINT) + _raw_varint(number)


def _bytes(field: int, content: bytes) -> bytes:
    return _key(field, _LENGTH) + _raw_varint(len(content)) + content


def _double(field: int, value: float) -> bytes:
    return _key(field, _DOUBLE) + struct.pack("<d", value)


def _float(field: int, value: float) -> bytes:
    return _key(field, _FLOAT) + struct.pack("<f", value)
