"""The fields by which a consumer tells devices, starts of the machine, starts of the daemon and models apart."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a message comes from.

    Attributes:
        device: the configured device id.
        model: name of the bundle.
        classes: names by class id.
        boot_id: id of the machine's present boot.
        session: random id of this start of the daemon.
    """

    device: str
    model: str
    classes: tuple[str, ...]
    boot_id: str
    session: str


def origin(*, device: str, model: str, classes: Sequence[str]) -> Origin:
    """The origin of this machine, with a new session id."""
    return Origin(device=device, model=model, classes=tuple(classes), boot_id=boot_id(), session=uuid.uuid4().hex)


@functools.cache
def boot_id() -> str:
    """The kernel's id of this boot; where there is none, a random one of this process."""
    try:
        return _BOOT_ID_FILE.read_text(encoding="ascii").strip()
    except OSError:
        return str(uuid.uuid4())
