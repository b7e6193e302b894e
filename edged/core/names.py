"""What devices and cameras may be called: each name is one level of an MQTT topic."""

import re

MAX_NAME_LENGTH = 64
RESERVED_CAMERA_NAMES = frozenset({"status", "info", "stats"})  # topics of the device itself

_NAME = re.compile(rf"[a-z0-9_-]{{1,{MAX_NAME_LENGTH}}}")


def is_name(name: str) -> bool:
    """Whether `name` may be one level of a topic."""
    return bool(_NAME.fullmatch(name))


def is_camera_name(name: str) -> bool:
    """Whether a camera may be called `name`."""
    return is_name(name) and name not in RESERVED_CAMERA_NAMES


def require_name(kind: str, name: str) -> None:
    """Raise ValueError unless `name` may be one level of a topic; `kind` is what the message calls it."""
    if not is_name(name):
        raise ValueError(f"{kind} {name!r} must be 1 to {MAX_NAME_LENGTH} of a-z, 0-9, _ and -: it is a topic level")


def require_camera_name(name: str) -> None:
    """Raise ValueError unless `name` may be a camera's: a topic level that is not one of the device's own."""
    require_name("camera name", name)
    if name in RESERVED_CAMERA_NAMES:
        raise ValueError(f"no camera may be called {name!r}: the device's own {name} topic has that name")
