from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from edged.core.errors import DataError
from provisioning.data.pictures import decode_picture, inspect_picture, read_picture
from tests.provisioning.data.pictures import encoded, noise_picture

SUFFIXES = {".jpg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".webp": "WebP"}


def with_orientation(jpeg: bytes, orientation: int, *, order: str = "<") -> bytes:
    """A JPEG with an EXIF block in front, of one entry."""
    mark = b"II" if order == "<" else b"MM"
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = mark + struct.pack(order + "HI", 42, 8) + struct.pack(order + "H", 1) + entry + bytes(4)
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_inspect_picture_tells_the_format(suffix: str) -> None:
    facts = inspect_picture(encoded(noise_picture(20, 10), suffix))
    assert (facts.format, facts.whole, facts.orientation) == (SUFFIXES[suffix], True, 1)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_inspect_picture_sees_a_missing_end(suffix: str, share: float) -> None:
    content = encoded(noise_picture(60, 40), suffix)
    assert not inspect_picture(content[: int(len(content) * share)]).whole


MOTION = b"\0\0\0\x18ftypmp42" + np.random.default_rng(5).bytes(20000) + b"SEFHk\0\0\0SEFT"  # a phone's video behind it
TRAILERS = {
    "motion": MOTION,
    "zeros": bytes(9000),
    "FF": b"\xff" * 9000,
    "text": b"\r\n" * 4000,
    "picture": encoded(noise_picture(64, 64)),
}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
@pytest.mark.parametrize("trailer", TRAILERS)
def test_read_picture_takes_a_whole_picture_with_something_behind_it(tmp_path: Path, suffix: str, trailer: str) -> None:
    content = encoded(noise_picture(60, 40), suffix)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content + TRAILERS[trailer])
    assert inspect_picture(path.read_bytes()).whole
    assert (read_picture(path) == decode_picture(content)).all()


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("trailer", TRAILERS)
def test_inspect_picture_tells_a_cut_picture_by_its_own_end(suffix: str, trailer: str) -> None:
    content = encoded(noise_picture(60, 40), suffix)
    behind = TRAILERS[trailer] if trailer != "picture" else encoded(noise_picture(64, 64, seed=1), suffix)
    assert not inspect_picture(content[: len(content) // 2] + behind).whole


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_inspect_picture_reads_exif(orientation: int, order: str) -> None:
    content = with_orientation(encoded(noise_picture(20, 10)), orientation, order=order)
    assert inspect_picture(content).orientation == orientation


def test_inspect_picture_survives_a_broken_exif_block() -> None:
    content = with_orientation(encoded(noise_picture(20, 10)), 6)
    for cut in range(4, 40):
        inspect_picture(content[:cut])
    assert inspect_picture(content.replace(b"II*\0", b"II*\xff")).orientation in range(1, 9)


def claiming(width: int, height: int) -> bytes:
    """A small PNG whose header claims another size."""
    content = encoded(noise_picture(20, 10), ".png")
    return content[:16] + struct.pack(">II", width, height) + content[24:]


def test_read_picture_refuses_a_huge_one_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(claiming(60000, 60000))
    with pytest.raises(DataError, match=r"a\.png: 60000x60000 pixels, the limit is \d+ in all; scale it down"):
        read_picture(path)


def test_read_picture_turns_upright(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(with_orientation(encoded(noise_picture(20, 10)), 6))
    assert read_picture(path).shape == (20, 10, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "the file is empty", id="empty"),
        pytest.param(b"<html>", "no known picture format", id="HTML"),
        pytest.param(b"\xff\xd8\xff\xe0 and nonsense \xff\xd9", "look like JPEG", id="damaged"),
        pytest.param(encoded(noise_picture(64, 64), ".png")[:5000], "truncated|cannot be decoded", id="cut PNG"),
        pytest.param(encoded(noise_picture(64, 64), ".jpg")[:3000], "truncated|cannot be decoded", id="cut JPEG"),
    ],
)
def test_read_picture_refuses(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_picture(path)


def test_read_picture_gives_colour_for_grey(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(np.full((4, 6), 7, np.uint8), ".png"))
    assert read_picture(path).shape == (4, 6, 3)
