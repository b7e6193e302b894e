"""Where things are that nobody named: the daemon's socket, the file of events."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Any

from edged.core.errors import UsageError
from edged.core.paths import FEED_SOCKET, RUNTIME_DIR, personal_runtime, personal_state
from edged.publish.options import MAX_PORT

EVENTS = "events.db"


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
    if events is not None:
        changes["events"] = {"file": events}
    return changes


def usual_events() -> Path | None:
    """Where events are kept if nobody says: in systemd's state directory; None keeps them in memory."""
    state = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(state) / EVENTS if state else None


def _parted(listen: str) -> dict[str, Any]:
    address, _, port = listen.rpartition(":")
    if not (port.isascii() and port.isdecimal() and int(port[:6]) <= MAX_PORT):
        raise UsageError(f"--listen must be ADDRESS:PORT, got {listen!r}")
    address = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    return {"port": int(port), **({"address": address} if address else {})}


def find_socket() -> Path:
    """The feed's socket: the service's, or that of the one daemon that this user runs; where none runs the service's.

    Raises:
        UsageError: there are several.
    """
    service = RUNTIME_DIR / FEED_SOCKET
    if _listens(service):
        return service
    folders = [folder for folder in (personal_runtime(), personal_state()) if folder is not None]
    found = [path for folder in folders for path in sorted(folder.glob(f"*/{FEED_SOCKET}")) if _listens(path)]
    if len(found) > 1:
        raise UsageError("several daemons run: " + ", ".join(map(str, found)), remedy="name one with --socket")
    return found[0] if found else service


def _listens(path: Path) -> bool:
    """Whether a program listens there, or would if this user might connect."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        return probe.connect_ex(os.fspath(path)) in {0, errno.EAGAIN, errno.EACCES}
