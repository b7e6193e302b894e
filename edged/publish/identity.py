"""Who speaks: the fields by which a consumer tells devices, machine starts, daemon starts and models apart."""

from __future__ import annotations

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
        boot_id: of the machine.
        session: of this run of the daemon.
    """

    device: str
    model: str
    classes: tuple[str, ...]
    boot_id: str
    session: str


def origin(*, device: str, model: str, classes: Sequence[str]) -> Origin:
    """A new session on this machine."""
    return Origin(device=device, model=model, classes=tuple(classes), boot_id=boot_id(), session=uuid.uuid4().hex)


def boot_id() -> str:
    """The kernel's id of this boot; where there is none, one that lasts as long as this process asks once."""
    try:
        return _BOOT_ID_FILE.read_text(encoding="ascii").strip()
    except OSError:
        return str(uuid.uuid4())
