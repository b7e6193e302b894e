"""Reads picture files: their format, whether they are complete, and their pixels."""

from __future__ import annotations

import os
import struct
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edged.core.errors import DataError
from edged.core.picture_header import MAGIC_BYTES, is_truncated, picture_size, picture_type
from edged.core.types import Pixels

MAX_PICTURE_BYTES = 256 << 20
MAX_PICTURE_PIXELS = 1 << 27  # decoded, each has three bytes, however small the file is
FORMATS = {  # format by suffix of the file name
    ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".webp": "WebP", ".tif": "TIFF", ".tiff": "TIFF",
}  # fmt: skip
_UPRIGHT = 1
_EXIF_ORIENTATION = 0x0112
_MARKERS_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
_START_OF_SCAN = 0xDA
_APP1 = 0xE1


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """What a picture file's bytes say, without decoding it.

    Attributes:
        format: a value of FORMATS; empty for any other.
        whole: False if its end is missing.
        orientation: EXIF 1..8; 1 is upright.
        size_wh: (width, height) in its header, pixels, before EXIF rotation; (0, 0) if that cannot be read.
    """

    format: str
    whole: bool
    orientation: int
    size_wh: tuple[int, int]

    @property
    def too_large(self) -> str:
        """Why the picture is too large to be decoded; empty if it is not."""
        width, height = self.size_wh
        if width * height <= MAX_PICTURE_PIXELS:
            return ""
        return f"{width}x{height} pixels, the limit is {MAX_PICTURE_PIXELS} in all"


def inspect_picture(content: bytes) -> PictureFacts:
    """Read format, completeness, EXIF orientation and size from a file's bytes, without decoding it."""
    kind = _format(content)
    return PictureFacts(
        format=kind,
        whole=_is_whole(content, kind),
        orientation=_jpeg_orientation(content) if kind == "JPEG" else _UPRIGHT,
        size_wh=_claimed_size(content) if kind else (0, 0),
    )


def read_picture(path: Path) -> Pixels:
    """Decode a picture, turned upright as its EXIF says.

    Returns:
        (H, W, 3) uint8, BGR.

    Raises:
        DataError: the file cannot be read, or is no picture, truncated or too large.
    """
    content = read_bytes(path)
    facts = inspect_picture(content)
    if facts.too_large:
        raise DataError(f"{path}: {facts.too_large}", remedy="scale it down or remove it")
    pixels = decode_picture(content)
    if pixels is None:
        raise DataError(f"{path} cannot be decoded as a picture ({_claim(content)})", remedy="replace or remove it")
    if not facts.whole:
        raise DataError(f"{path} is truncated: its end is missing", remedy="copy it again or remove it")
    return pixels


def read_bytes(path: Path) -> bytes:
    """A picture file's content.

    Raises:
        DataError: it cannot be read, or is larger than MAX_PICTURE_BYTES.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_PICTURE_BYTES + 1)
    except OSError as exc:
        raise DataError(f"{path} cannot be read: {exc.strerror}") from exc
    if len(content) > MAX_PICTURE_BYTES:
        raise DataError(f"{path} is larger than {MAX_PICTURE_BYTES} bytes")
    return content


def decode_picture(content: bytes) -> Pixels | None:
    """Decode to (H, W, 3) uint8 BGR, turned upright by EXIF; None if OpenCV cannot read it."""
    if not content:
        return None
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)  # type: ignore[return-value]
    except cv2.error:
        return None


def decode_and_complain(content: bytes) -> tuple[Pixels | None, str]:
    """As `decode_picture`, with the decoder's first complaint; empty if there is none.

    Decoders report damage inside a picture only on file descriptor 2, which is redirected meanwhile. Not thread-safe.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as said:
        kept = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            pixels = decode_picture(content)
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        said.seek(0)
        lines = said.read().decode(errors="replace").splitlines()
    return pixels, next((line for line in lines if line.strip() and "warn" not in line.lower()), "")


def _claim(content: bytes) -> str:
    if not content:
        return "the file is empty"
    kind = _format(content)
    return f"its bytes look like {kind}" if kind else "its bytes are no known picture format"


def _format(content: bytes) -> str:
    """The format if a data set may hold it; else empty."""
    kind = picture_type(content[:MAGIC_BYTES])
    return kind if kind in FORMATS.values() else ""


def _claimed_size(content: bytes) -> tuple[int, int]:
    try:
        return picture_size(content, "")
    except DataError:
        return 0, 0  # decoding will say what is wrong with it


def _is_whole(content: bytes, kind: str) -> bool:
    if kind == "BMP" and len(content) >= 6:  # noqa: PLR2004  # up to the header's field for the file size
        return len(content) >= int(struct.unpack_from("<I", content, 2)[0])
    return bool(content) and not is_truncated(kind, content)


def _jpeg_orientation(content: bytes) -> int:
    """EXIF 2.3, tag 0x0112 of the first image file directory; 1 if there is none."""
    position = 2
    while position + 4 <= len(content) and content[position] == 0xFF:  # noqa: PLR2004  # every marker starts so
        marker = content[position + 1]
        if marker in _MARKERS_WITHOUT_LENGTH:
            position += 2
            continue
        length = struct.unpack_from(">H", content, position + 2)[0]
        body = content[position + 4 : position + 2 + length]
        if marker == _APP1 and body.startswith(b"Exif\0\0"):
            return _tiff_orientation(body[6:])
        if marker == _START_OF_SCAN:
            break
        position += 2 + length
    return _UPRIGHT


def _tiff_orientation(tiff: bytes) -> int:
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return _UPRIGHT
    try:
        start = struct.unpack_from(order + "I", tiff, 4)[0]
        for entry in range(struct.unpack_from(order + "H", tiff, start)[0]):
            tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, start + 2 + 12 * entry)
            if tag == _EXIF_ORIENTATION:
                return value if 1 <= value <= 8 else _UPRIGHT  # noqa: PLR2004  # the eight of the standard
    except struct.error:
        pass  # with a broken EXIF block, the picture itself may still be valid
    return _UPRIGHT
