"""Reads text files in UTF-8, UTF-16 or UTF-32, as their first bytes tell; refuses a file that is not wholly text."""

from __future__ import annotations

import codecs
from pathlib import Path

from edged.core.errors import EdgedError

_MARKS = (  # UTF-32 before UTF-16, whose mark begins as its own does
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_REMEDY = "save the file as UTF-8"


def read_text(path: Path, *, limit: int, error: type[EdgedError]) -> str:
    """The text of a file.

    Args:
        path: of the file.
        limit: largest size accepted, bytes.
        error: class to raise.

    Raises:
        OSError: it cannot be read; only the caller knows what to do about that.
        EdgedError: of the class `error`, larger than `limit` or not text; file and reason are named.
    """
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise error(f"{path}: larger than {limit} bytes, the most that is read")
    try:
        return decoded_text(content)
    except UnicodeDecodeError as exc:
        raise error(f"{path}: {undecodable(exc)}", remedy=_REMEDY) from exc


def decoded_text(content: bytes) -> str:
    """The text in UTF-8, or in UTF-16 or UTF-32 where its first bytes say so; without its byte-order mark.

    Windows tools write UTF-16 with a mark. Without one, a zero byte beside the first character tells it.

    Raises:
        UnicodeDecodeError: neither.
    """
    return content.decode(marked_encoding(content) or _by_zeros(content) or "utf-8")


def marked_encoding(content: bytes) -> str:
    """The encoding that a byte-order mark declares, or an empty string; a mark without text behind it declares none."""
    return next((name for mark, name in _MARKS if content.startswith(mark) and len(content) > len(mark)), "")


def undecodable(exc: UnicodeDecodeError) -> str:
    """The message for bytes that are not valid in their encoding: which byte, in which line."""
    line = exc.object[: exc.start].count(b"\n") + 1
    return f"line {line} is not {exc.encoding.upper()}: byte 0x{exc.object[exc.start]:02x} (number {exc.start})"


def _by_zeros(content: bytes) -> str:
    """The encoding of UTF-16 without a mark, told by zero bytes beside the first two characters; else empty."""
    if len(content) % 2 or len(content) < len("  ".encode("utf-16-le")):
        return ""
    zeros = [not byte for byte in content[:4]]
    if zeros == [False, True, False, True]:
        return "utf-16-le"
    return "utf-16-be" if zeros == [True, False, True, False] else ""
