"""Cache files, so that a start need not compile again; each has a digest, so that no damaged one is used."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from pathlib import Path

logger = logging.getLogger(__name__)

_DIGEST_BYTES = 32  # SHA-256 of the content, in front of it


def cache_folder(what: str) -> Path:
    """A folder of the unit's `CacheDirectory=`, else of the user's cache; it need not exist."""
    given = os.environ.get("CACHE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given) / what
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edged" / what
    except RuntimeError:  # this user has no home: a path where nothing can be stored
        return Path(os.devnull) / "edged" / what


def kept(path: Path) -> bytes | None:
    """The content that `keep` stored; None where there is none, or it is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, kept_content = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(kept_content).digest() == digest:
        return kept_content
    logger.warning("%s is damaged and will be made again", path)
    return None


def keep(path: Path, content: bytes) -> None:
    """Store content for the next start, whole or not at all; a failure is logged only."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            whole = Path(scratch) / path.name
            whole.write_bytes(hashlib.sha256(content).digest() + content)
            whole.replace(path)
    except OSError as exc:
        logger.warning("cannot write to the cache %s: %s; its content is made again at every start", path.parent, exc)
