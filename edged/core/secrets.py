"""Remembers the secrets of this process and hides every spelling of them in a text."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from edged.core.folding import fold

HIDDEN = "***"
_SHORT = 4  # bytes; a shorter secret is hidden only where it stands alone, else words become unreadable
_LEAST_CORE = 6  # letters of base64; fewer may match by chance
_BASE64 = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789/-_=")  # folded; + is a blank there
_KEY = 4  # first bytes or letters of a spelling, its key in the index


@dataclass(frozen=True, slots=True)
class _Needle:
    """A spelling to look for, folded; with `inside_base64` the whole base64 word around it is hidden."""

    folded: bytes
    inside_base64: bool = False


class _Known:
    """Spellings, indexed by how they begin: logging must stay fast with the passwords of hundreds of cameras.

    Readers take no lock: entries are only added.
    """

    def __init__(self) -> None:
        self.values: set[str] = set()
        self._needles: tuple[dict[bytes, tuple[_Needle, ...]], ...] = ({}, {}, {}, {})  # by their first 1, 2, ... bytes
        self._literals: tuple[dict[str, tuple[str, ...]], ...] = ({}, {}, {}, {})

    def add(self, value: str) -> None:
        for needle in _spellings(value):
            key = needle.folded[:_KEY]
            table = self._needles[len(key) - 1]
            table[key] = tuple({*table.get(key, ()), needle})
        for literal in filter(None, _as_written(value)):
            start = literal[:_KEY]
            literals = self._literals[len(start) - 1]
            literals[start] = tuple({*literals.get(start, ()), literal})
        self.values.add(value)

    def literals_in(self, text: str) -> Iterator[tuple[int, int]]:
        """Start and end of each unfolded spelling in `text`."""
        for size, table in enumerate(self._literals, start=1):
            for first in range(len(text) - size + 1) if table else ():
                for literal in table.get(text[first : first + size], ()):
                    if text.startswith(literal, first):
                        yield first, first + len(literal)

    def needles_in(self, data: bytes) -> Iterator[tuple[int, _Needle]]:
        """Start of each folded spelling in `data`, and the spelling."""
        for size, table in enumerate(self._needles, start=1):
            for first in range(len(data) - size + 1) if table else ():
                for needle in table.get(data[first : first + size], ()):
                    if data.startswith(needle.folded, first):
                        yield first, needle


_lock = threading.Lock()
_known = _Known()


def remember(values: Iterable[str]) -> None:
    """From now on `hide` hides these values in every spelling; blank ones are ignored."""
    with _lock:
        for value in values:
            if value not in _known.values and value.strip("* \t\r\n"):
                _known.add(value)


def forget() -> None:
    """Forget all secrets; for tests."""
    global _known  # noqa: PLW0603 - secrets are known to the whole process
    with _lock:
        _known = _Known()


def hide(text: str) -> str:
    """`text` with `***` for every known secret: plain, percent-encoded, escaped, in base64 or hex, in any case."""
    known = _known
    if not known.values:
        return text
    hidden = bytearray(len(text))
    for first, end in known.literals_in(text):
        hidden[first:end] = b"\1" * (end - first)
    folded = fold(text)
    begin = end = 0
    for first, needle in known.needles_in(folded.data):
        if begin <= first and first + len(needle.folded) <= end:
            continue  # inside what was hidden last: a long base64 word is walked through once
        begin, end = _extent(folded.data, first, needle)
        if begin < end:
            low, high = folded.starts[begin], folded.ends[end - 1]
            hidden[low:high] = b"\1" * (high - low)
    return _masked(text, hidden)


def _masked(text: str, hidden: bytearray) -> str:
    if not any(hidden):
        return text
    shown: list[str] = []
    for letter, secret in zip(text, hidden, strict=True):
        if not secret:
            shown.append(letter)
        elif not shown or shown[-1] != HIDDEN:
            shown.append(HIDDEN)
    return "".join(shown)


def _as_written(value: str) -> Iterable[str]:
    """Spellings to look for unfolded: folding may join their ends with their neighbours."""
    if len(value.encode("utf-8", "surrogatepass")) >= _SHORT:
        percent = quote(value, safe="", errors="replace")
        yield from (value, percent, percent.replace("%20", "+"), quote(value, errors="replace"))
        yield from (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1])


def _spellings(value: str) -> Iterable[_Needle]:
    for encoding in ("utf-8", "latin-1"):
        try:
            coded = value.encode(encoding)
            folded = fold(value, encoding=encoding).data.strip()
        except UnicodeEncodeError:
            continue
        if folded:
            yield _Needle(folded)
        if encoding == "utf-8" and not value.isascii():  # Python's `\xe4` is a letter, not a byte
            yield _Needle(fold(ascii(value)[1:-1]).data.strip())
        if len(coded) >= _SHORT:
            yield _Needle(coded.hex().encode())
            yield from (_Needle(fold(core).data, inside_base64=True) for core in _base64_cores(coded))


def _base64_cores(coded: bytes) -> Iterable[str]:
    """What the base64 of any text that holds `coded` contains: one core for each of the three offsets in a group."""
    for before in range(3):
        whole = base64.b64encode(bytes(before) + coded).decode()
        core = whole[(0, 2, 3)[before] : (before + len(coded)) * 8 // 6]
        if len(core) >= _LEAST_CORE:
            yield core
            yield core.translate(str.maketrans("+/", "-_"))
    yield base64.b64encode(coded).decode()


def _extent(data: bytes, first: int, needle: _Needle) -> tuple[int, int]:
    """Start and end of the secret found at `first`; empty where it is only a part of a word."""
    begin, end = first, first + len(needle.folded)
    if needle.inside_base64:
        while begin and data[begin - 1] in _BASE64:
            begin -= 1
        while end < len(data) and data[end] in _BASE64:
            end += 1
    elif len(needle.folded) < _SHORT and _is_part_of_a_word(data, begin, end):
        return 0, 0
    return begin, end


def _is_part_of_a_word(data: bytes, begin: int, end: int) -> bool:
    around = data[max(begin - 1, 0) : begin] + data[end : end + 1]
    return any(chr(byte).isalnum() or byte >= 0x80 for byte in around)  # noqa: PLR2004 - not ASCII
