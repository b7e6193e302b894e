"""The feed's socket: where it is, and who may connect."""

from __future__ import annotations

import contextlib
import grp
import os
import socket
import stat
from pathlib import Path

from edged.core.errors import ConfigError

LONGEST_PATH = 107  # bytes: unix(7), sun_path with its final zero
BACKLOG = 16
_OWNER, _GROUP = 0o600, 0o660


def listen(path: Path, *, group: str) -> socket.socket:
    """A listening socket at `path`, for this user and, where this process belongs to it, `group`.

    Args:
        path: a socket that is left there from an earlier run is replaced.
        group: name of a group; one that does not exist, or that this process is not in, changes nothing.

    Raises:
        ConfigError: it cannot be made there.
    """
    remedy = "name another with [feed] socket, or say [feed] enabled = false"
    if len(os.fsencode(path)) > LONGEST_PATH:
        problem = f"the path of a socket has at most {LONGEST_PATH} bytes, got {len(os.fsencode(path))}"
        raise ConfigError(f"[feed] socket: {path}: {problem}", remedy=remedy)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o751)
        _require_unused(path)
        os.fchmod(listener.fileno(), _OWNER)  # before anybody could connect
        listener.bind(os.fspath(path))
        listener.listen(BACKLOG)
        _open_to(path, group)
    except OSError as exc:
        listener.close()
        raise ConfigError(f"[feed] socket: {path}: {exc.strerror or exc}", remedy=remedy) from exc
    except ConfigError:
        listener.close()
        raise
    return listener


def _require_unused(path: Path) -> None:
    """Remove what an earlier run left; raise ConfigError where something else is, or somebody listens."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"[feed] socket: {path} is there, and is no socket", remedy="name another place")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(os.fspath(path)) == 0:
            raise ConfigError(f"[feed] socket: {path}: another program listens there", remedy="name another place")
    path.unlink()


def _open_to(path: Path, group: str) -> None:
    """Let the members of `group` connect, where that is possible."""
    if not group:
        return
    with contextlib.suppress(KeyError, PermissionError):
        os.chown(path, -1, grp.getgrnam(group).gr_gid)
        path.chmod(_GROUP)
