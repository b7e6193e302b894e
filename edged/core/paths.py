"""Where things are on an installed machine."""

import os
from pathlib import Path

CONFIG = Path("/etc/edged/edged.toml")
STATE_DIR = Path("/var/lib/edged")
RUNTIME_DIR = Path("/run/edged")
FEED_SOCKET = "feed.sock"  # in the runtime directory of a daemon
MODELS = STATE_DIR / "models"  # the bundle store; its link `active` is what the daemon runs


def personal_runtime() -> Path | None:
    """Where sockets of this user's daemons are, a folder each; None where the system offers no such place."""
    root = os.environ.get("XDG_RUNTIME_DIR", "")
    return Path(root) / "edged" if root.startswith("/") else None


def personal_state() -> Path:
    """Where this user's daemons keep what must outlive them, a folder each."""
    # As the XDG Base Directory Specification says: a relative path is to be ignored.
    root = os.environ.get("XDG_STATE_HOME", "")
    home = Path(root) if root.startswith("/") else Path(os.path.expanduser("~")) / ".local" / "state"
    return home / "edged"


def runtime_directory(device: str) -> Path:
    """Where this run's sockets are: systemd's `RuntimeDirectory=`, else by the XDG convention, else beside its state.

    Args:
        device: the configured id; without systemd each device has a directory of its own.
    """
    if given := os.environ.get("RUNTIME_DIRECTORY", ""):
        return Path(given.split(":", maxsplit=1)[0])
    personal = personal_runtime()
    return state_directory(device) if personal is None else personal / device


def state_directory(device: str) -> Path:
    """Where this run keeps what must outlive it: systemd's `StateDirectory=`, else by the XDG convention.

    Args:
        device: the configured id; without systemd each device has a directory of its own.
    """
    if given := os.environ.get("STATE_DIRECTORY", ""):
        return Path(given.split(":", maxsplit=1)[0])
    return personal_state() / device
