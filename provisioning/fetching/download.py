"""Downloads a file over http(s) into a partial file; a broken download is resumed."""

from __future__ import annotations

import logging
import os
import time
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from tqdm import tqdm

from edged.core.errors import DataError, Unreachable
from edged.core.redact import redact
from provisioning.fetching.address import request_to

logger = logging.getLogger(__name__)

TIMEOUT_S = 30.0
ATTEMPTS = 4
MAX_BYTES = 4 << 30
CHUNK_BYTES = 1 << 18


def download(url: str, part: Path) -> None:
    """Download the whole file to `part`. A broken connection is retried, from the byte where it broke.

    Args:
        url: http or https.
        part: continued if it holds the beginning of this file; kept if the download fails.

    Raises:
        DataError: a web page instead of a file, more than `MAX_BYTES` (4 GiB), or a redirection from https to http.
        Unreachable: no answer, a refusal, or cut off in all `ATTEMPTS`.
        OSError: the disk is full or not writable.
    """
    problem = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            logger.warning("%s; trying again (%d of %d)", problem, attempt + 1, ATTEMPTS)
            time.sleep(min(2.0**attempt, 8.0) / 8)
        try:
            problem = _continue(url, part)
        except HTTPError as exc:
            with exc:
                problem = f"{redact(url)} answered {exc.code} {exc.reason}"
            if exc.code < HTTPStatus.INTERNAL_SERVER_ERROR:
                break
        except (URLError, HTTPException, TimeoutError, ConnectionError) as exc:
            reason = exc.reason if isinstance(exc, URLError) else exc
            problem = f"{redact(url)} broke off: {reason or type(exc).__name__}"
        else:
            if not problem:
                return
    kept = f"{part.stat().st_size} bytes are kept; run the same command to resume" if part.exists() else ""
    raise Unreachable(problem, remedy=kept or "check the address and the network")


def finish(part: Path, target: Path) -> None:
    """Rename a complete `part` to `target`, and remove what only a resumed download needs.

    Raises:
        OSError: the file system refuses it.
    """
    part.replace(target)
    _validator_path(part).unlink(missing_ok=True)


def discard(part: Path) -> None:
    """Remove a complete `part` that is not needed any more.

    Raises:
        OSError: the file system refuses it.
    """
    part.unlink()
    _validator_path(part).unlink(missing_ok=True)


def _validator_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _continue(url: str, part: Path) -> str:
    """Fetch the missing bytes of `part`. Returns what went wrong; an empty text when it is complete."""
    have = part.stat().st_size if part.exists() else 0
    validator = _validator_path(part).read_text("utf-8") if have and _validator_path(part).exists() else ""
    headers = {"User-Agent": "edged-provision", "Accept-Encoding": "identity"}
    if validator:  # without it, the server could not tell us that the file has changed
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    request = request_to(url, headers)  # `resolve` admits http and https only
    try:
        with urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
            _refuse_downgrade(url, response.url)
            return _store(response, part, have)
    except HTTPError as exc:
        if exc.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not have:
            raise
        with exc:
            if exc.headers.get("Content-Range") == f"bytes */{have}":
                return ""  # complete: an earlier run ended after the last byte, before the renaming
        part.unlink()
        return f"{redact(url)} is now shorter than the part kept of it"


def _refuse_downgrade(asked: str, answered: str) -> None:
    if urlsplit(asked).scheme == "https" and urlsplit(answered).scheme != "https":
        raise DataError(f"{redact(asked)} was redirected to plain http, {redact(answered)}; refused")


def _store(response: HTTPResponse, part: Path, have: int) -> str:
    resumes = response.status == HTTPStatus.PARTIAL_CONTENT
    if resumes and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        part.unlink()
        return f"the server resumed at another byte than asked: {response.headers.get('Content-Range')}"
    if "text/html" in response.headers.get("Content-Type", ""):
        raise DataError(f"{redact(response.url)} is a web page, not weights", remedy="give the address of the file")
    have = have if resumes else 0
    length = response.headers.get("Content-Length", "")
    total = have + int(length) if length.isdecimal() else None
    if (total or 0) > MAX_BYTES:
        raise DataError(f"{redact(response.url)} has {total} bytes, more than the limit of {MAX_BYTES}")
    _validator_path(part).write_text(response.headers.get("ETag", "") or response.headers.get("Last-Modified", ""))
    with (
        part.open("ab" if resumes else "wb") as file,
        tqdm(desc=f"fetch {part.stem}", total=total, initial=have, unit="B", unit_scale=True, disable=None) as bar,
    ):
        while block := response.read1(CHUNK_BYTES):
            have += file.write(block)
            bar.update(len(block))
            if have > MAX_BYTES:
                raise DataError(f"{redact(response.url)} sends more than the limit of {MAX_BYTES} bytes")
        file.flush()
        os.fsync(file.fileno())
    return "" if total in {None, have} else f"{redact(response.url)} broke off after {have} of {total} bytes"
