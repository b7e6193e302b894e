"""The links of a model store: which bundle has a name, is active, was active before. Changed by atomic renames.

DIR/.objects/HASH/   a bundle; HASH is the SHA-256 of its manifest.json, which holds the hash of every other file
DIR/NAME             link to the bundle of that name
DIR/active           link to the bundle that the daemon runs
DIR/.previous        link to the bundle that was active before
DIR/.lock            locked while something is changed; says which process holds it
DIR/.trials.json     which bundles proved themselves on this device, and which were refused
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from edged.core.bundle import OBJECTS
from edged.store.files import sync_directory

PREVIOUS = ".previous"
LOCK = ".lock"
UNFINISHED = ".unfinished-"

_DIGEST = re.compile(r"[0-9a-f]{64}")


def is_digest(name: str) -> bool:
    """Whether a bundle's directory may be called so."""
    return _DIGEST.fullmatch(name) is not None


def digest_of(root: Path, link: str) -> str | None:
    """The digest of the bundle that a link of the store leads to; None if it is missing or leads out of the store."""
    try:
        target = Path(os.readlink(root / link))
    except OSError:
        return None
    return target.name if target.parent == Path(OBJECTS) and is_digest(target.name) else None


def point(root: Path, link: str, digest: str) -> None:
    """Lead a link to a bundle, by one rename. Call it under the store's lock.

    Raises:
        OSError: the disk is full or the store is not writable; the link is as it was.
    """
    temporary = root / f"{UNFINISHED}link"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(Path(OBJECTS) / digest)
    temporary.replace(root / link)
    sync_directory(root)
