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
