"""Which bundles of a store proved themselves on this device, and which were refused: one file beside them.

Daemon and edged-provision both change it, under the store's lock. A file that cannot be read is put aside: no bundle is
known then, which costs nothing but the comparison with the model before.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from edged.core.bundle import OBJECTS
from edged.core.errors import EdgedError
from edged.store.files import atomic_writer

TRIALS = ".trials.json"
SCHEMA = "edged.trials/1"
MAX_BYTES = 1 << 20

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a bundle is not to be run on this device again.

    Attributes:
        name: of the bundle.
        reason: one sentence.
        at: when, RFC 3339, UTC.
        back_to: digest of the bundle that the device went back to.
    """

    name: str
    reason: str
    at: str
    back_to: str


@dataclass(frozen=True, slots=True)
class Trials:
    """What is known of bundles, each by its digest.

    Attributes:
        accepted: those that proved themselves, with frames a second of each camera that was there; 0 where unknown.
        refused: those that did not.
        starts: how often a bundle on trial was started and not ended in order.
    """

    accepted: Mapping[str, float] = field(default_factory=dict)
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    starts: Mapping[str, int] = field(default_factory=dict)

    def started(self, digest: str, count: int) -> Trials:
        """With so many starts of a bundle."""
        return replace(self, starts={**self.starts, digest: count})

    def accepting(self, digest: str, rate: float) -> Trials:
        """With a bundle that proved itself."""
        return replace(self, accepted={**self.accepted, digest: rate}, starts=_without(self.starts, digest))

    def refusing(self, digest: str, refusal: Refusal) -> Trials:
        """With a bundle that is not to be run again."""
        refused = {**self.refused, digest: refusal}
        return Trials(_without(self.accepted, digest), refused, _without(self.starts, digest))

    def allowing(self, digest: str) -> Trials:
        """With a bundle that may be tried as though it were new."""
        return Trials(_without(self.accepted, digest), _without(self.refused, digest), _without(self.starts, digest))


def read_trials(root: Path) -> Trials:
    """What the store's file says. Never raises: a file that makes no sense is put aside, and logged."""
    path = root / TRIALS
    try:
        return _read(path)
    except FileNotFoundError:
        return Trials()
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as exc:
        logger.warning("%s cannot be used (%s): no bundle is known to have proved itself", path, exc)
        with contextlib.suppress(OSError):
            path.replace(path.with_name(f"{TRIALS}.damaged"))
        return Trials()


def _read(path: Path) -> Trials:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES:,} bytes")
    content = json.loads(path.read_bytes())
    if content["schema"] != SCHEMA:
        raise ValueError(f"schema {str(content['schema'])[:40]!r}, expected {SCHEMA}")
    return Trials(
        accepted={str(digest): float(rate) for digest, rate in content["accepted"].items()},
        refused={str(digest): Refusal(**told) for digest, told in content["refused"].items()},
        starts={str(digest): int(count) for digest, count in content["starts"].items()},
    )


def write_trials(root: Path, trials: Trials) -> None:
    """Replace the store's file; bundles that are no longer there are left out. Call it under the store's lock.

    Raises:
        EdgedError: the disk is full or the store is not writable; the file is as it was.
    """
    try:
        there = {path.name for path in (root / OBJECTS).iterdir()}
    except OSError as exc:
        raise EdgedError(f"{root / OBJECTS} cannot be read: {exc.strerror}") from exc
    content = {
        "schema": SCHEMA,
        "accepted": {digest: rate for digest, rate in trials.accepted.items() if digest in there},
        "refused": {digest: asdict(told) for digest, told in trials.refused.items() if digest in there},
        "starts": {digest: count for digest, count in trials.starts.items() if digest in there},
    }
    with atomic_writer(root / TRIALS) as file:
        file.write(json.dumps(content, indent=1).encode())


def _without(known: Mapping[str, T], digest: str) -> dict[str, T]:
    return {each: value for each, value in known.items() if each != digest}
