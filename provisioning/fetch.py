"""Downloads weights, by name or address, and verifies their SHA-256; a broken download is resumed."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

from edged.core.errors import DataError, EdgedError, UsageError
from edged.core.redact import redact, remember_source
from provisioning.download import download, finish
from provisioning.files import file_sha256

logger = logging.getLogger(__name__)

RELEASES = ("5.0", "6.0", "6.1", "6.2", "7.0")
AGPL = "AGPL-3.0"
LICENCE_NOTE = (
    "official YOLOv5 weights are licensed AGPL-3.0 by Ultralytics (enterprise licences are sold); "
    "whoever offers a service with them has to meet that licence"
)
# Only hashes that somebody has verified; other weights need --sha256 or --trust-first.
PINNED: Mapping[tuple[str, str], str] = MappingProxyType(
    {("yolov5n", "7.0"): "4f180cf23ba0717ada0badd6c685026d73d48f184d00fc159c2641284b2ac0a3"}
)

_OFFICIAL = re.compile(r"(yolov5[nsmlx])(?:\.pt)?(?:@v?(\d+\.\d+))?")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Source:
    """Where weights come from.

    Attributes:
        url: http or https.
        file_name: of the downloaded file.
        sha256: the expected digest, lower-case hex; empty if unknown.
        licence: SPDX identifier, or `unknown`.
    """

    url: str
    file_name: str
    sha256: str
    licence: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """A verified file and its origin; the same facts are written beside it, as `<file>.origin.json`."""

    path: Path
    url: str
    sha256: str
    bytes: int
    licence: str


def official(name: str) -> Source | None:
    """The source of official weights such as `yolov5s` or `yolov5s@6.2` (default 7.0); None for any other text.

    Raises:
        UsageError: that release does not exist, or not in that size.
    """
    match = _OFFICIAL.fullmatch(name)
    if match is None:
        return None
    size, release = match[1], match[2] or RELEASES[-1]
    if release not in RELEASES or (size == "yolov5n" and release == "5.0"):
        raise UsageError(f"there is no {size} in YOLOv5 release {release}", remedy=f"releases: {', '.join(RELEASES)}")
    url = f"https://github.com/ultralytics/yolov5/releases/download/v{release}/{size}.pt"
    return Source(url=url, file_name=f"{size}-{release}.pt", sha256=PINNED.get((size, release), ""), licence=AGPL)


def resolve(wanted: str, *, sha256: str = "", licence: str = "") -> Source:
    """Find the address and the expected SHA-256 for an official name or an address.

    Args:
        wanted: `yolov5n`, `yolov5s@6.2` or an http(s) address.
        sha256: expected digest; it may confirm a pinned one, never replace it.
        licence: of weights at an address; `unknown` if empty.

    Raises:
        UsageError: `wanted` is neither, or the digest is malformed or contradicts the pinned one.
    """
    sha256 = sha256.lower()
    if sha256 and not _SHA256.fullmatch(sha256):
        raise UsageError(f"--sha256 must be 64 hexadecimal digits, got {sha256!r}")
    source = official(wanted) or _address(wanted, licence)
    if source.sha256 and sha256 and source.sha256 != sha256:
        raise UsageError(f"{wanted} is pinned to SHA-256 {source.sha256}, --sha256 says {sha256}")
    return Source(source.url, source.file_name, source.sha256 or sha256, source.licence)


def fetch(source: Source, folder: Path, *, trust_first: bool = False) -> Fetched:
    """Download the file unless it is there already; resume a broken download.

    Args:
        source: from `resolve`.
        folder: gets `<file>` and `<file>.origin.json`; during the download also `<file>.part`.
        trust_first: if no digest is known, accept the first download and expect its digest from then on.

    Raises:
        UsageError: no digest is known and `trust_first` is not given.
        DataError: the digest is another one. The download is kept as `<file>.rejected`; a file that was there
            already is left as it is.
        Unreachable: no answer, or cut off too often; the partial file stays for the next run.
        EdgedError: the disk is full or the folder not writable.
    """
    target = folder / source.file_name
    expected = source.sha256 or _recorded_sha256(target, source.url)
    if not expected and not trust_first:
        raise UsageError(
            f"no SHA-256 is known for {redact(source.url)}",
            remedy="give --sha256 HEX, or --trust-first to accept and record the first download",
        )
    if not expected and not _private(source.url):
        raise UsageError(f"{redact(source.url)} cannot be trusted on first use: plain http", remedy="use https")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if target.exists():
            return _existing(target, source, expected)
        part = folder / f"{source.file_name}.part"
        download(source.url, part)
        return _accept(part, target, source, expected)
    except OSError as exc:
        raise EdgedError(f"cannot write below {folder}: {exc.strerror or exc}", remedy="free space or --out") from exc


def origin(path: Path) -> Mapping[str, Any]:
    """What `fetch` recorded of a file (url, sha256, bytes, licence); empty if `fetch` did not download it."""
    try:
        record = json.loads(_origin_path(path).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _address(wanted: str, licence: str) -> Source:
    remember_source(wanted)
    parts = urlsplit(wanted)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(
            f"{redact(wanted)!r} is neither an official name nor an http(s) address",
            remedy=f"names: yolov5n, s, m, l, x, with @RELEASE ({', '.join(RELEASES)})",
        )
    name = Path(unquote(parts.path)).name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UsageError(f"{redact(wanted)} does not end in a plain file name, got {name!r}")
    return Source(url=wanted, file_name=name, sha256="", licence=licence or "unknown")


def _private(url: str) -> bool:
    """Whether nobody on the way can change the bytes: https, or a server on this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in {"127.0.0.1", "::1", "localhost"}


def _existing(target: Path, source: Source, expected: str) -> Fetched:
    digest = file_sha256(target)
    if expected and digest != expected:
        raise DataError(
            f"{target} is there already with SHA-256 {digest}, expected {expected}; left as it is",
            remedy="move it away and fetch again",
        )
    logger.info("%s is there already and verified", target)
    return _record(target, source, digest)


def _accept(part: Path, target: Path, source: Source, expected: str) -> Fetched:
    digest = file_sha256(part)
    if expected and digest != expected:
        rejected = target.with_name(f"{target.name}.rejected")
        finish(part, rejected)
        raise DataError(
            f"{redact(source.url)}: expected SHA-256 {expected}, got {digest} ({rejected.stat().st_size} bytes)",
            remedy=f"the download is kept as {rejected}; nothing else was changed",
        )
    finish(part, target)
    return _record(target, source, digest)


def _record(target: Path, source: Source, digest: str) -> Fetched:
    fetched = Fetched(target, redact(source.url), digest, target.stat().st_size, source.licence)
    temporary = target.with_name(f"{target.name}.origin.tmp")
    temporary.write_text(json.dumps({**asdict(fetched), "path": target.name}, indent=2) + "\n", "utf-8")
    temporary.replace(_origin_path(target))
    return fetched


def _recorded_sha256(target: Path, url: str) -> str:
    record = origin(target)
    digest = record.get("sha256")
    return digest if record.get("url") == redact(url) and isinstance(digest, str) else ""


def _origin_path(target: Path) -> Path:
    return target.with_name(f"{target.name}.origin.json")
