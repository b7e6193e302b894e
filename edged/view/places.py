"""Where things are that nobody named: the daemon's socket, the file of events."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from edged.core.errors import UsageError
from edged.core.paths import RUNTIME_DIR, personal_runtime, personal_state
from edged.publish.options import MAX_PORT

SOCKET, EVENTS = "feed.sock", "events.db"


def changes_of(listen: str | None, socket: Path | None, events: Path | None) -> dict[str, dict[str, Any]]:
    """Keys of the settings, by section, that the command line sets.

    Args:
        listen: `ADDRESS:PORT`, `[::1]:PORT` or `PORT`.
        socket, events: paths.

    Raises:
        UsageError: no such address.
    """
    changes: dict[str, dict[str, Any]] = {}
    if listen is not None:
        changes["listen"] = _parted(listen)
    if socket is not None:
        changes["feed"] = {"socket": socket}
    state = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if events is not None or state:
        changes["events"] = {"file": events or Path(state) / EVENTS}
    return changes


def _parted(listen: str) -> dict[str, Any]:
    address, _, port = listen.rpartition(":")
    if not (port.isascii() and port.isdecimal() and int(port[:6]) <= MAX_PORT):
        raise UsageError(f"--listen must be ADDRESS:PORT, got {listen!r}")
    address = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    return {"port": int(port), **({"address": address} if address else {})}


def find_socket(*, required: bool) -> Path | None:
    """The feed's socket: the service's, or that of the one daemon that this user runs.

    Args:
        required: where there is none, give the service's place, which may come to be.

    Raises:
        UsageError: there are several.
    """
    service = RUNTIME_DIR / SOCKET
    if service.exists():
        return service
    folders = [folder for folder in (personal_runtime(), personal_state()) if folder is not None]
    found = sorted(path for folder in folders for path in folder.glob(f"*/{SOCKET}"))
    if len(found) > 1:
        raise UsageError("several daemons run: " + ", ".join(map(str, found)), remedy="name one with --socket")
    return found[0] if found else service if required else None
