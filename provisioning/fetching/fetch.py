"""Downloads weights, by name or address, and verifies their SHA-256; a broken download is resumed."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit

from edged.core.errors import DataError, EdgedError, UsageError
from edged.core.redact import redact, remember_source
from provisioning.fetching.download import discard, download, finish
from provisioning.fetching.known import Source, catalogue, known
from provisioning.fetching.unpack import unpack
from provisioning.files import file_sha256

logger = logging.getLogger(__name__)

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A verified file and its origin; the same facts are written beside it, as `<file>.origin.json`.

    Attributes:
        path: of the file.
        url: where it was downloaded, without secrets.
        sha256, bytes: of the file; of the member, where a zip file was downloaded.
        licence: SPDX identifier, or `unknown`.
        member: the file's name in the zip file that was downloaded; empty where the file itself was.
    """

    path: Path
    url: str
    sha256: str
    bytes: int
    licence: str
    member: str


def resolve(wanted: str, *, sha256: str = "", licence: str = "") -> Source:
    """Find the address and the expected SHA-256 for a known name or an address.

    Args:
        wanted: a known name (`yolov5s@6.2`, `yolox-nano`), or an http(s) address; `#end2end.onnx` behind the address
            of a zip file names the file in it.
        sha256: expected digest; it may confirm a known one, never replace it.
        licence: of weights at an address; `unknown` if empty.

    Raises:
        UsageError: `wanted` is neither, or the digest is malformed or contradicts the known one.
    """
    sha256 = sha256.lower()
    if sha256 and not _SHA256.fullmatch(sha256):
        raise UsageError(f"--sha256 must be 64 hexadecimal digits, got {sha256!r}")
    source = known(wanted) or _address(wanted, licence)
    if not sha256:
        return source
    if source.sha256 not in {"", sha256}:
        raise UsageError(f"{wanted} is pinned to SHA-256 {source.sha256}, --sha256 says {sha256}")
    return replace(source, sha256=sha256, stated=False)


def fetch(source: Source, folder: Path, *, trust_first: bool = False) -> Fetched:
    """Download the file unless it is there already; resume a broken download.

    Args:
        source: from `resolve`.
        folder: gets `<file>` and `<file>.origin.json`; during the download also `<file>.part`.
        trust_first: accept the first download where no digest is known, and expect its digest from then on; where one
            is only stated, accept a file that has it.

    Raises:
        UsageError: no digest is known, or it is only stated, and `trust_first` is not given.
        DataError: the digest is another one, or a zip file is damaged or lacks the member. The download is kept as
            `<file>.rejected`; a file that was there already is left as it is.
        Unreachable: no answer, or cut off too often; the partial file stays for the next run.
        EdgedError: the disk is full or the folder not writable.
    """
    target = folder / source.file_name
    recorded = _recorded_sha256(target, source.url)
    if not recorded and not trust_first:
        _require_verified(source)
    expected = source.sha256 or recorded
    if not expected and not _private(source.url):
        raise UsageError(f"{redact(source.url)} cannot be trusted on first use: plain http", remedy="use https")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if target.exists():
            return _existing(target, source, expected)
        part = folder / f"{source.file_name}.part"
        download(source.url, part)
        return _accept(_unpacked(part, target, source), target, source, expected)
    except OSError as exc:
        raise EdgedError(f"cannot write below {folder}: {exc.strerror or exc}", remedy="free space or --out") from exc


def origin(path: Path) -> Mapping[str, Any]:
    """What `fetch` recorded of a file (url, sha256, bytes, licence); empty if `fetch` did not download it."""
    try:
        record = json.loads(_origin_path(path).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _require_verified(source: Source) -> None:
    if not source.sha256:
        raise UsageError(
            f"no SHA-256 is known for {redact(source.url)}",
            remedy="give --sha256 HEX, or --trust-first to accept and record the first download",
        )
    if source.stated:
        raise UsageError(
            f"the SHA-256 of {redact(source.url)} is stated as {source.sha256}, which nobody here has verified",
            remedy="give --trust-first to accept a file of exactly this hash, or --sha256 to confirm it",
        )


def _address(wanted: str, licence: str) -> Source:
    remember_source(wanted)
    url, member = urldefrag(wanted)
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(
            f"{redact(wanted)!r} is neither a known name nor an http(s) address",
            remedy=f"names: {', '.join(name for name, _source in catalogue())}",
        )
    packed = Path(unquote(parts.path)).name
    if packed.lower().endswith(".zip") and not member:
        raise UsageError(f"{redact(wanted)} is a zip file", remedy="name the file in it: ADDRESS#model.onnx")
    name = unquote(member) or packed
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UsageError(f"{redact(wanted)} does not end in a plain file name, got {name!r}")
    return Source(url=url, file_name=name, sha256="", licence=licence or "unknown", member=unquote(member))


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


def _unpacked(part: Path, target: Path, source: Source) -> Path:
    """The weights of a complete download: the download itself, or the member of the zip file that it is."""
    if not source.member:
        return part
    inner = target.with_name(f"{target.name}.unpacked")
    try:
        unpack(part, source.member, inner)
    except DataError as exc:
        inner.unlink(missing_ok=True)
        rejected = _reject(part, target)
        raise DataError(f"{redact(source.url)}: {exc}", remedy=f"the download is kept as {rejected}") from exc
    discard(part)
    return inner


def _reject(download: Path, target: Path) -> Path:
    rejected = target.with_name(f"{target.name}.rejected")
    finish(download, rejected)
    return rejected


def _accept(part: Path, target: Path, source: Source, expected: str) -> Fetched:
    digest = file_sha256(part)
    if expected and digest != expected:
        rejected = _reject(part, target)
        raise DataError(
            f"{redact(source.url)}: expected SHA-256 {expected}, got {digest} ({rejected.stat().st_size} bytes)",
            remedy=f"the download is kept as {rejected}; nothing else was changed",
        )
    finish(part, target)
    return _record(target, source, digest)


def _record(target: Path, source: Source, digest: str) -> Fetched:
    fetched = Fetched(target, redact(source.url), digest, target.stat().st_size, source.licence, source.member)
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
