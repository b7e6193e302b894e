"""Checks the text of a camera's source without opening it."""

import re

SCHEMES = ("rtsp", "rtsps", "http", "https")
_PREFIXED = ("gst:PIPELINE", "test:")  # what is neither a path nor a URL
PREFIXES = tuple(form[: form.index(":") + 1] for form in _PREFIXED)
_NAMED = [*(f"{scheme}://" for scheme in SCHEMES), *_PREFIXED]
ACCEPTED = f"a path, folder, glob, /dev/videoN, {', '.join(_NAMED[:-1])} or {_NAMED[-1]}"  # for messages
_MISSPELT = re.compile(rf"(?:{'|'.join(SCHEMES)})(?::/?(?!/)|;/|/{{2}})", re.IGNORECASE)
_WRAPPED = re.compile(rf"(?!{'|'.join(PREFIXES)})[A-Za-z][\w.-]*:(?=(?:{'|'.join(SCHEMES)})://)", re.IGNORECASE)
_BARE_ADDRESS = re.compile(rf"(?!{'|'.join(PREFIXES)})[^\s/:@]+:\S*@[^\s/]+")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


def scheme_of(source: str) -> str:
    """The scheme of a URL in lower case, e.g. `rtsp`; empty for anything else."""
    scheme = _SCHEME.match(source)
    return scheme[1].lower() if scheme else ""


def is_path(source: str) -> bool:
    """Whether it names something in the file system: a file, folder, glob or `/dev/videoN`."""
    return "://" not in source and not source.startswith(PREFIXES) and not source.isdecimal()


def foreign_scheme(source: str) -> str:
    """The scheme of a URL that edged does not read, e.g. `ftp://`; else empty."""
    scheme = scheme_of(source)
    return f"{scheme}://" if scheme and scheme not in SCHEMES else ""


def misspelt(source: str) -> str:
    """What is wrong with a mistyped URL; empty where `source` may be right."""
    if _MISSPELT.match(source):
        return "a URL has two slashes behind its scheme: rtsp://ADDRESS/PATH"
    if wrapper := _WRAPPED.match(source):
        return f"write the address alone, without {wrapper[0]} in front of it"
    if _BARE_ADDRESS.match(source) and not scheme_of(source):
        return "an address begins with its scheme: rtsp://ADDRESS/PATH"
    return ""


def without_credentials(source: str) -> tuple[str, str]:
    """A URL without user and password, and these as they stand there: `rtsp://u:p@host/x` -> `rtsp://host/x`, `u:p`.

    Not with urllib: it refuses a bracket in a password, and drops an empty query.
    """
    scheme, _, rest = source.partition("://")
    address = re.split(r"[/?#]", rest, maxsplit=1)[0]
    credentials, _, host = address.rpartition("@")
    return f"{scheme}://{host}{rest[len(address) :]}", credentials


def lower_scheme(source: str) -> str:
    """`source` with its scheme in lower case, as FFmpeg wants it: `RTSP://Host` -> `rtsp://Host`."""
    return scheme_of(source) + source[len(scheme_of(source)) :]
