"""Removes secrets from text, by value and by form, before it goes to a log, a status message or MQTT."""

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
# To the next `&key=`, `;key=`, `_key=`, as cameras write it in a path; nothing else ends a password for certain.
_VALUE = r"(?:\"[^\"]*\"|'[^']*'|(?:(?![&;,_/?!][A-Za-z][A-Za-z0-9-]*=)[^\s\"'])+)"
_KEYED_PASSWORD = re.compile(rf"(?<![A-Za-z])(?:{_HIDDEN_KEYS})=({_VALUE})", re.IGNORECASE)
_KEYED = re.compile(rf"(?<![A-Za-z])({_HIDDEN_KEYS}|{_USER_KEYS})=({_VALUE})", re.IGNORECASE)
_AUTHORIZATION = re.compile(r"(authorization[\"']?\s*[:=]\s*)\S.*", re.IGNORECASE)

_SCHEME = r"(?:[A-Za-z][A-Za-z0-9+.-]*:?)?/{1,3}"
_WORDS = re.compile(r"\S+")
_SLASHES = re.compile(r":?/{2,3}")
_ENDS_IN_WORD = re.compile(r"[\"'=(<]")  # no user name of an address holds one of them
_CUT = re.compile(
    r"(://)[^\s/?#@:\[]+:(?!\d{1,5}(?!\w))[^\s\"'].*?(?=$|[\s\"'])"
)  # a user and a password, cut before the @
_ADDRESS = re.compile(r"://|\b(?:rtsps?|https?):?/")

_PARTS = re.compile(rf"(?:^|(?<=[\s\"'=(<]))(?:{_SCHEME})?([^\s/:@\"'=]*):(?!//)(\S*)@")
_WHOLE = re.compile(rf"(?:{_SCHEME})?([^/:@]*):(?!//)(.*)@", re.DOTALL)
_TOKEN = re.compile(r"//([^\s/:@]+)@")
_PIECES = re.compile(r"[\s/?#@:&;]")
_PLACES = {"", "{password}", "{username}", "{username}:{password}"}  # placeholders in edged.toml, no secrets
_LEAST_PIECE = 4  # letters of a part of a password that a parser of addresses may have cut off


def redact(text: str) -> str:
    """`text` with `***` for every secret that this process knows, and for all that stands where a secret may stand.

    That is the user, password and query of every address in it, even if misspelt, and the values of `password=`
    and the like in paths and GStreamer pipelines. Works on any text: messages, tracebacks, lines of FFmpeg.
    """
    text = hide(text)
    text = _WORDS.sub(lambda word: _without_parts(word[0]), text)
    text = _AUTHORIZATION.sub(rf"\1{HIDDEN}", text)
    return _KEYED.sub(rf"\1={HIDDEN}", text)


def remember_source(source: str) -> None:
    """Remember the secrets in a camera's source, or any other address, so that `redact` hides them everywhere."""
    remember(value for value in _secrets_in(source) if value.strip(":") not in _PLACES)


def holds_secret(source: str) -> bool:
    """Whether a camera's source, or any other address, holds a password or a token."""
    return any(value.strip(":") not in _PLACES for value in _secrets_in(source))


def _without_parts(word: str) -> str:
    """A word without user, password and query of the address in it. Each search reads the word once: linear time."""
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
        if not password:  # e.g. `admin:@`: no secret
            continue
        yield from _decoded(password)
        yield f"{unquote(user)}:{unquote(password)}"  # what HTTP Basic encodes
        pieces = {*_PIECES.split(password)} - {*SCHEMES}  # of `ffmpeg:rtsp://user:password@host`
        yield from (piece for piece in pieces if len(piece) >= _LEAST_PIECE)
    for match in _TOKEN.finditer(source):
        yield from _decoded(match[1])
    for match in _KEYED_PASSWORD.finditer(source):
        yield from _decoded(match[1].strip("\"'"))


def _decoded(value: str) -> tuple[str, str]:
    """As written, and without percent-encoding."""
    return value, unquote(value)
