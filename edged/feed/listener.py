"""The feed's socket: where it is, and who may connect."""

from __future__ import annotations

import errno
import grp
import logging
import os
import socket
import stat
from pathlib import Path

from edged.core.errors import ConfigError

LONGEST_PATH = 107  # bytes: unix(7), sun_path with its final zero
BACKLOG = 16
_OWNER, _GROUP, _PASSABLE = 0o600, 0o660, 0o711

logger = logging.getLogger(__name__)


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
        _make_folder(path.parent)
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


def _make_folder(folder: Path) -> None:
    """Make it, passable for the group that may connect, whatever the umask says."""
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(_PASSABLE)


def _require_unused(path: Path) -> None:
    """Remove what an earlier run left; raise ConfigError where something else is, or somebody listens."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"[feed] socket: {path} is there, and is no socket", remedy="name another place")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        if probe.connect_ex(os.fspath(path)) != errno.ECONNREFUSED:
            raise ConfigError(f"[feed] socket: {path}: another program listens there", remedy="name another place")
    path.unlink()


def _open_to(path: Path, group: str) -> None:
    """Let the members of `group` connect, where that is possible."""
    if not group:
        return
    try:
        number = grp.getgrnam(group).gr_gid
    except KeyError:
        return
    try:
        os.chown(path, -1, number)
        path.chmod(_GROUP)
    except PermissionError as exc:
        if number in {os.getegid(), *os.getgroups()}:
            logger.warning("[feed] group: %s cannot be opened to the group %s: %s", path, group, exc.strerror)
