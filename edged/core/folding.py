"""Normalises text: undoes escapes and differences of case, and keeps where each byte stood in the original."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

_MOST_ROUNDS = 4  # an address quoted in JSON in a log of a proxy has three
_ESCAPE = re.compile(
    rb"%(?P<url>[0-9a-f]{2})"
    rb"|\\x(?P<hex>[0-9a-f]{2})|\\(?P<octal>[0-3][0-7]{2})"
    rb"|\\u(?P<high>d[89ab][0-9a-f]{2})\\u(?P<low>d[c-f][0-9a-f]{2})"
    rb"|\\(?-i:U)(?P<point>000[0-9a-f]{5})|\\u(?P<unit>[0-9a-f]{4})"
    rb"|\\(?P<blank>[nrtbf])|\\(?P<plain>[\\\"'/@:?#&=;, ()<>|$!*~`{}\[\]])"
    rb"|(?P<entity>&(?:#\d{1,7}|#x[0-9a-f]{1,6}|amp|lt|gt|quot|apos);)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Folded:
    """A text in one spelling.

    Attributes:
        data: UTF-8, ASCII letters in lower case, escapes undone, a `+` or blanks as one blank, no backslashes.
        starts, ends: for each byte of `data`, the slice of the original text that it stands for.
    """

    data: bytes
    starts: list[int]
    ends: list[int]


def fold(text: str, *, encoding: str = "utf-8") -> Folded:
    """`text` with percent-encoding, escapes of JSON, C, Python and HTML, and differences of case taken out.

    Raises:
        UnicodeEncodeError: a letter that `encoding` does not have.
    """
    data, starts, ends = bytearray(), list[int](), list[int]()
    for place, letter in enumerate(text):
        coded = letter.encode(encoding, "surrogatepass" if encoding == "utf-8" else "strict")
        data += coded
        starts += [place] * len(coded)
        ends += [place + 1] * len(coded)
    folded = Folded(bytes(data), starts, ends)
    for _ in range(_MOST_ROUNDS):
        shorter = _unescaped(folded)
        if shorter is folded:
            break
        folded = shorter
    return _plain(folded)


def _unescaped(folded: Folded) -> Folded:
    """Undo one layer of escapes; returns `folded` itself where there is none."""
    data, starts, ends = bytearray(), list[int](), list[int]()
    after = 0
    for match in _ESCAPE.finditer(folded.data):
        first, end = match.span()
        coded = _meaning(match)
        data += folded.data[after:first] + coded
        starts += folded.starts[after:first] + [folded.starts[first]] * len(coded)
        ends += folded.ends[after:first] + [folded.ends[end - 1]] * len(coded)
        after = end
    if not after:
        return folded
    return Folded(bytes(data + folded.data[after:]), starts + folded.starts[after:], ends + folded.ends[after:])


def _meaning(match: re.Match[bytes]) -> bytes:
    kind = match.lastgroup or ""
    said = match[kind].decode("ascii")
    if kind in {"url", "hex"}:
        return bytes([int(said, 16)])
    if kind == "octal":
        return bytes([int(said, 8)])
    if kind == "low":
        pair = (int(match["high"], 16) - 0xD800 << 10) + int(said, 16) - 0xDC00
        return chr(0x10000 + pair).encode()
    if kind in {"unit", "point"}:
        return chr(int(said, 16)).encode("utf-8", "surrogatepass")
    if kind == "entity":
        return html.unescape(said).encode("utf-8", "replace")
    return b" " if kind == "blank" else said.encode()


def _plain(folded: Folded) -> Folded:
    data, starts, ends = bytearray(), list[int](), list[int]()
    for byte, start, end in zip(folded.data.lower(), folded.starts, folded.ends, strict=True):
        letter = b" "[0] if byte in b"+ \t\r\n\v\f" else byte
        if letter == b"\\"[0]:
            continue
        if letter == b" "[0] and data.endswith(b" "):
            ends[-1] = end
            continue
        data.append(letter)
        starts.append(start)
        ends.append(end)
    return Folded(bytes(data), starts, ends)
