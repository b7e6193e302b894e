from __future__ import annotations

import struct
from pathlib import Path

import pytest

from provisioning.training.events import EventFile, crc32c


def test_crc32c_gives_the_values_of_its_specification() -> None:
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


def unmasked(value: int) -> int:
    rotated = (value - 0xA282EAD8) & 0xFFFFFFFF
    return ((rotated << 15) | (rotated >> 17)) & 0xFFFFFFFF


def records(content: bytes) -> list[bytes]:
    found = []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        data = content[12 : 12 + length]
        assert unmasked(struct.unpack("<I", content[8:12])[0]) == crc32c(content[:8])
        assert unmasked(struct.unpack("<I", content[12 + length : 16 + length])[0]) == crc32c(data)
        found.append(data)
        content = content[16 + length :]
    return found


def test_event_file_holds_framed_scalars(tmp_path: Path) -> None:
    events = EventFile(tmp_path / "new")
    events.scalars({"a/b": 1.5, "c": -2.0}, step=300)
    [path] = (tmp_path / "new").glob("events.out.tfevents.*")
    first, second = records(path.read_bytes())
    assert first[9:] == b"\x1a\x0dbrain.Event:2"
    assert second[9:12] == b"\x10\xac\x02"  # step 300 as a varint
    summary = second[14:]
    assert summary == (
        b"\x0a\x0a\x0a\x03a/b\x15" + struct.pack("<f", 1.5) + b"\x0a\x08\x0a\x01c\x15" + struct.pack("<f", -2.0)
    )


def test_event_file_of_many_values_has_long_lengths(tmp_path: Path) -> None:
    events = EventFile(tmp_path)
    events.scalars({f"metrics/{number:030d}": float(number) for number in range(20)}, step=0)
    [path] = tmp_path.iterdir()
    assert len(records(path.read_bytes())[1]) > 20 * 40


def test_event_file_is_read_by_tensorboard(tmp_path: Path) -> None:
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = EventFile(tmp_path)
    events.scalars({"loss": 0.5}, step=7)
    accumulator = loader.EventAccumulator(str(tmp_path)).Reload()
    [scalar] = accumulator.Scalars("loss")
    assert (scalar.step, scalar.value) == (7, 0.5)
