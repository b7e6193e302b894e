"""Texts without their secrets, by value and by form: what logs, status messages and MQTT may show."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

from edged.core.secrets import HIDDEN, hide, remember
from edged.core.sources import SCHEMES

_HIDDEN_KEYS = (
    r"pass(?:word|wort|wd|phrase|code)?|passw|pwd|psw|psd|pw|(?:user|proxy)-pw|(?:access[-_]?)?token|secret|sid|"
    r"session(?:[-_]?id)?|(?:api[-_]?|access[-_]?)?key|auth|sig(?:nature)?|credentials?"
)
_USER_KEYS = r"user(?:name)?|usr|login(?:use)?|account|(?:user|proxy)-id"
# To the next `&key=`, `;key=`, `_key=`, as cameras write it in a path; nothing else ends a password surely.
_VALUE = r"(?:\"[^\"]*\"|'[^']*'|(?:(?![&;,_/?!][A-Za-z][A-Za-z0-9-]*=)[^\s\"'])+)"
_KEYED_PASSWORD = re.compile(rf"(?<![A-Za-z])(?:{_HIDDEN_KEYS})=({_VALUE})", re.IGNORECASE)
_KEYED = re.compile(rf"(?<![A-Za-z])({_HIDDEN_KEYS}|{_USER_KEYS})=({_VALUE})", re.IGNORECASE)
_AUTHORIZATION = re.compile(r"(authorization[\"']?\s*[:=]\s*)\S.*", re.IGNORECASE)

_SCHEME = r"(?:[A-Za-z][A-Za-z0-9+.-]*:?)?/{1,3}"
_WORDS = re.compile(r"\S+")
_SLASHES = re.compile(r":?/{2,3}")
_ENDS_IN_WORD = re.compile(r"[\"'=(<]")  # none of them stands in the user of an address
_CUT = re.compile(
    r"(://)[^\s/?#@:\[]+:(?!\d{1,5}(?!\w))[^\s\"'].*?(?=$|[\s\"'])"
)  # a user and a password, cut before the @
_ADDRESS = re.compile(r"://|\b(?:rtsps?|https?):?/")

_PARTS = re.compile(rf"(?:^|(?<=[\s\"'=(<]))(?:{_SCHEME})?([^\s/:@\"'=]*):(?!//)(\S*)@")
_WHOLE = re.compile(rf"(?:{_SCHEME})?([^/:@]*):(?!//)(.*)@", re.DOTALL)
_TOKEN = re.compile(r"//([^\s/:@]+)@")
_PIECES = re.compile(r"[\s/?#@:&;]")
_PLACES = {"", "{password}", "{username}", "{username}:{password}"}  # where edged.toml wants them put
_LEAST_PIECE = 4  # letters of a part of a password that a parser of addresses may have cut off


def redact(text: str) -> str:
    """`text` with `***` for every secret that this process knows, and for what stands where secrets stand.

    The latter is the user, password and query of every address in it, whole or misspelt, and the values of `password=`
    and the like in paths and GStreamer pipelines. Works on any text: messages, tracebacks, lines of FFmpeg.
    """
    text = hide(text)
    text = _WORDS.sub(lambda word: _without_parts(word[0]), text)
    text = _AUTHORIZATION.sub(rf"\1{HIDDEN}", text)
    return _KEYED.sub(rf"\1={HIDDEN}", text)


def remember_source(source: str) -> None:
    """Know the secrets that a camera's source, or any other address, holds."""
    remember(value for value in _secrets_in(source) if value.strip(":") not in _PLACES)


def holds_secret(source: str) -> bool:
    """Whether a camera's source, or any other address, holds a password or a token."""
    return any(value.strip(":") not in _PLACES for value in _secrets_in(source))


def _without_parts(word: str) -> str:
    """A word without user, password and query of the address in it; by searches that each read the word once."""
    if "@" in word:
        word = _without_user(word)
    if "://" in word:
        word = _CUT.sub(rf"\1{HIDDEN}", word)
    if "?" in word and (address := _ADDRESS.search(word)) and (query := word.find("?", address.end())) >= 0:
        word = word[: query + 1] + HIDDEN
    return word


def _without_user(word: str) -> str:
    # Up to the last @ of the word: an unescaped @ or / in a password must not leak its tail.
    last = word.rindex("@")
    if slashes := _SLASHES.search(word, 0, last):
        return word[: slashes.end()] + HIDDEN + word[last:]
    colon = word.find(":", 0, last)
    if colon < 0:
        return word
    begin = max((end.end() for end in _ENDS_IN_WORD.finditer(word, 0, colon)), default=0)
    return word[:begin] + HIDDEN + word[last:]


def _secrets_in(source: str) -> Iterator[str]:
    # An address may hold a blank that should have been %20; only a pipeline has several words.
    whole = None if source.startswith("gst:") else _WHOLE.match(source)
    for match in [*_PARTS.finditer(source), *filter(None, [whole])]:
        user, password = match.groups()
        if not password:  # as `admin:@`, which is no secret
            continue
        yield from _decoded(password)
        yield f"{unquote(user)}:{unquote(password)}"  # as HTTP's Basic has it
        pieces = {*_PIECES.split(password)} - {*SCHEMES}  # of `ffmpeg:rtsp://user:password@host`
        yield from (piece for piece in pieces if len(piece) >= _LEAST_PIECE)
    for match in _TOKEN.finditer(source):
        yield from _decoded(match[1])
    for match in _KEYED_PASSWORD.finditer(source):
        yield from _decoded(match[1].strip("\"'"))


def _decoded(value: str) -> tuple[str, str]:
    """As written, and as meant."""
    return value, unquote(value)
