"""Pictures: what is refused before it is decoded, and what is read how."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.capture.sources.pictures import find_pictures, read_picture
from edged.core.errors import CameraError, DataError
from edged.core.picture_header import picture_size

SUFFIXES = [".jpg", ".png", ".bmp", ".webp", ".tiff", ".gif"]
SUFFIXES = [suffix for suffix in SUFFIXES if cv2.haveImageWriter(suffix)]


def picture(size_wh: tuple[int, int] = (70, 40)) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A gradient, so that turning it shows."""
    ramp = np.linspace(0, 255, size_wh[0], dtype=np.uint8)
    return np.repeat(np.tile(ramp, (size_wh[1], 1))[..., None], 3, axis=2)


def encoded(suffix: str, size_wh: tuple[int, int] = (70, 40)) -> bytes:
    return cv2.imencode(suffix, picture(size_wh))[1].tobytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("size_wh", [(70, 40), (16, 300)])
def test_picture_size_agrees_with_the_decoder(suffix: str, size_wh: tuple[int, int]) -> None:
    assert picture_size(encoded(suffix, size_wh), "x") == size_wh


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_read_picture_gives_bgr(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"picture{suffix}"
    path.write_bytes(encoded(suffix))
    pixels = read_picture(str(path), max_pixels=10_000)
    assert pixels.shape == (40, 70, 3) and pixels.dtype == np.uint8


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_read_picture_truncated(suffix: str, share: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 90, 3), np.uint8)
    data = cv2.imencode(suffix, noise)[1].tobytes()
    path = tmp_path / f"picture{suffix}"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match="is truncated: its end is missing"):
        read_picture(str(path), max_pixels=10_000)


def test_read_picture_truncated_jpeg_with_a_whole_thumbnail(tmp_path: Path) -> None:
    thumbnail = encoded(".jpg", (16, 16))
    data = encoded(".jpg")
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    path = tmp_path / "picture.jpg"
    path.write_bytes(data[:2] + segment + data[2:-40])
    with pytest.raises(DataError, match="is truncated: its end is missing"):
        read_picture(str(path), max_pixels=10_000)


def test_read_picture_huge_is_refused_by_its_header(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path = tmp_path / "bomb.png"
    path.write_bytes(data + b"\0\0\0\0IEND\xae\x42\x60\x82")
    with pytest.raises(DataError, match="60000x60000 pixels, the limit is 1000000"):
        read_picture(str(path), max_pixels=1_000_000)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", r"is empty \(0 bytes\)", id="empty"),
        pytest.param(b"<!DOCTYPE html><html>", "an HTML or XML page", id="html"),
        pytest.param(b"\0\0\0\x20ftypisom" + bytes(40), "an MP4 or MOV video", id="mp4"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer", id="lfs"),
        pytest.param(bytes(100), "no picture that edged knows", id="zeros"),
        pytest.param(b"\xff\xd8\xff\xe0", "damaged or truncated", id="jpeg-start"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(40), "claims 0x0 pixels", id="png-zeros"),
    ],
)
def test_read_picture_says_what_it_is(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_picture(str(path), max_pixels=10_000)


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"GIF89a"])
)
def test_picture_size_of_anything_is_a_size_or_a_data_error(tail: bytes, head: bytes) -> None:
    try:
        width, height = picture_size(head + tail, "x")
    except DataError:
        return
    assert width >= 1 and height >= 1


def test_read_picture_turns_by_exif(tmp_path: Path) -> None:
    data = encoded(".jpg")
    # TIFF header, one entry: tag 0x0112 Orientation, SHORT, count 1, value 6 (turn 90 degrees clockwise to see it)
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0)
    exif = b"Exif\0\0" + tiff
    path = tmp_path / "picture.jpg"
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    pixels = read_picture(str(path), max_pixels=10_000)
    assert pixels.shape == (70, 40, 3)
    assert pixels[0].mean() < pixels[-1].mean(), "left became top"


def test_read_picture_of_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.png"
    with open(name, "wb") as file:
        file.write(encoded(".png"))
    path = os.fsdecode(name)
    assert read_picture(path, max_pixels=10_000).shape == (40, 70, 3)
    assert find_pictures(str(tmp_path)) == [path]


def test_read_picture_from_a_fifo_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "picture.jpg")
    with pytest.raises(DataError, match="not a regular file"):
        read_picture(str(tmp_path / "picture.jpg"), max_pixels=10_000)


def test_find_pictures_sorts_and_ignores_others(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "notes.txt", "._a.jpg", ".hidden.png"):
        (tmp_path / name).touch()
    assert [Path(path).name for path in find_pictures(str(tmp_path))] == ["a.jpg", "b.PNG"]
    assert [Path(path).name for path in find_pictures(str(tmp_path / "*.jpg"))] == ["a.jpg"]


def test_find_pictures_none(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="holds no pictures among its 0 entries"):
        find_pictures(str(tmp_path))
    with pytest.raises(CameraError, match="no file matches"):
        find_pictures(str(tmp_path / "*.jpg"))
