"""Type and size of a picture from its first bytes, so that nothing huge or broken reaches a decoder.

Formats: JPEG (ITU-T T.81 annex B), PNG (ISO/IEC 15948), BMP, WebP (RFC 9649), TIFF 6.0, GIF89a.
"""

from __future__ import annotations

import re
import struct

from edged.core.errors import DataError

MAGIC_BYTES = 16
_JPEG_END, _JPEG_SCAN = 0xD9, 0xDA  # EOI, SOS
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOFn; the three are tables
_JPEG_RESERVED = re.compile(rb"\xff[\x01-\xbf]")
_BMP_CORE = 12  # header length of OS/2 bitmaps, whose sides are shorts
_TIFF_SHORT = 3
_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"BM", "BMP"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
)
_OTHERS = (  # what people name .jpg by mistake, for the message
    (0, b"<", "an HTML or XML page"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"%PDF", "a PDF document"),
    (4, b"ftypheic", "a HEIC picture, which OpenCV does not read"),
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftyp", "an MP4 or MOV video"),
    (0, b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (0, b"version https://git-lfs", "a Git LFS pointer: fetch the real file"),
)


def picture_type(head: bytes) -> str:
    """`JPEG`, `PNG`, ... by the first `MAGIC_BYTES` bytes, or an empty string."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    return next((name for magic, name in _SIGNATURES if head.startswith(magic)), "")


def other_type(head: bytes) -> str:
    """What a file that is no picture seems to be, for a message."""
    start = head.lstrip(b" \t\r\n\xef\xbb\xbf")[:1]
    if start == b"<":
        return _OTHERS[0][2]
    return next((text for at, magic, text in _OTHERS if head[at:].startswith(magic)), "no picture that edged knows")


def picture_size(data: bytes, where: str) -> tuple[int, int]:
    """Width and height as the header claims, pixels. Refuses truncated files where the format shows it.

    Args:
        data: the whole file.
        where: its name, for messages.

    Raises:
        DataError: empty, not a picture, header damaged, or truncated.
    """
    if not data:
        raise DataError(f"{where} is empty (0 bytes)")
    kind = picture_type(data[:MAGIC_BYTES])
    if not kind:
        raise DataError(f"{where} is {other_type(data[:64])}", remedy="give a JPEG, PNG, BMP, WebP, TIFF or GIF")
    try:
        size = _READERS[kind](data)
    except (struct.error, IndexError) as exc:
        raise DataError(f"{where}: {kind} header is damaged or truncated ({len(data)} bytes)") from exc
    if min(size) < 1:
        raise DataError(f"{where}: {kind} header claims {size[0]}x{size[1]} pixels")
    if is_truncated(kind, data):
        raise DataError(f"{where}: {kind} is truncated: its end is missing ({len(data)} bytes)")
    return size


def is_truncated(kind: str, data: bytes) -> bool:
    """Whether the end of the picture is missing. What follows it (a video, padding, a second picture) does not count.

    Args:
        kind: as `picture_type` says.
        data: the whole file.
    """
    try:
        if kind == "JPEG":
            return _jpeg_ends_early(data)
        if kind == "PNG":
            return _png_ends_early(data)
        if kind == "WebP":
            return len(data) < int(struct.unpack_from("<I", data, 4)[0]) + 8
    except (struct.error, IndexError):
        return True
    return False


def _jpeg_ends_early(data: bytes) -> bool:
    """Find FFD9 (EOI): entropy-coded data never holds it, so the first one after SOS ends the picture.

    Where a picture was cut but something follows it (a video, a second picture), the FFD9 found may belong to that.
    Then FFD8FF, or a marker that no scan holds, comes before it.
    """
    scan = _jpeg_walk(data)[2]
    end = data.find(b"\xff\xd9", scan)
    if end < 0 or data.find(b"\xff\xd8\xff", scan, end) >= 0:
        return True
    follows = data[end + 2 :].strip(b"\0")  # else a reserved marker is damage in the picture
    return bool(follows) and _JPEG_RESERVED.search(data, scan, end) is not None


def _png_ends_early(data: bytes) -> bool:
    """Walk from chunk to chunk: the letters IEND may also stand in what follows a truncated picture."""
    at = 8
    while True:
        length, name = struct.unpack_from(">I4s", data, at)
        at += 12 + length
        if name == b"IEND":
            return bool(at > len(data))


def _jpeg(data: bytes) -> tuple[int, int]:
    width, height, _ = _jpeg_walk(data)
    return width, height


def _jpeg_walk(data: bytes) -> tuple[int, int, int]:
    """Width, height and where the first scan's data starts, found segment by segment from SOI.

    Raises:
        IndexError, struct.error: it ends before its first scan.
    """
    width = height = 0
    at = 2
    while True:
        at = data.find(b"\xff", at)
        if at < 0:
            raise IndexError
        marker = data[at + 1]
        if marker in {0xFF, 0x00}:  # fill bytes and stray data between segments
            at += 1
            continue
        if marker == _JPEG_END:
            raise IndexError
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker in _JPEG_SIZES:
            height, width = struct.unpack_from(">HH", data, at + 5)
        if marker == _JPEG_SCAN:
            return width, height, at + 2 + length
        at += 2 + max(length, 2)


def _png(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    return int(width), int(height)


def _bmp(data: bytes) -> tuple[int, int]:
    (header,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH", data, 18) if header == _BMP_CORE else struct.unpack_from("<ii", data, 18)
    return int(width), abs(int(height))


def _gif(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return int(width), int(height)


def _webp(data: bytes) -> tuple[int, int]:
    chunk = data[12:16]
    if chunk == b"VP8X":
        low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", data, 24)
        return (high_w << 16 | low_w) + 1, (high_h << 16 | low_h) + 1
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _tiff(data: bytes) -> tuple[int, int]:
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    sides = {256: 0, 257: 0}  # ImageWidth, ImageLength
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        if tag in sides:
            (sides[tag],) = struct.unpack_from(order + ("H" if kind == _TIFF_SHORT else "I"), data, entry + 8)
    return sides[256], sides[257]


_READERS = {"JPEG": _jpeg, "PNG": _png, "BMP": _bmp, "GIF": _gif, "WebP": _webp, "TIFF": _tiff}
