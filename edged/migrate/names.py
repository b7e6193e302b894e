"""Names of cameras and zones as edged accepts them: levels of MQTT topics."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from edged.core.names import MAX_NAME_LENGTH, RESERVED_CAMERA_NAMES


def edged_names(given: Iterable[str], *, kind: str) -> dict[str, str]:
    """A name of `a-z 0-9 _ -` for each name in Frigate, all different.

    Args:
        given: names in Frigate, all different.
        kind: `camera` or `zone`; no camera gets a name that the device's own topics have.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    numbers: Counter[str] = Counter()
    for name in given:
        plain = re.sub(r"[^a-z0-9_-]", "_", name.lower())[:MAX_NAME_LENGTH] or kind
        if kind == "camera" and plain in RESERVED_CAMERA_NAMES:
            plain = f"{plain}-camera"
        chosen = plain
        while _folded(chosen) in taken:
            numbers[plain] += 1
            number = str(numbers[plain] + 1)
            chosen = f"{plain[: MAX_NAME_LENGTH - len(number) - 1]}-{number}"
        taken.add(_folded(chosen))
        found[name] = chosen
    return found


def _folded(name: str) -> str:
    return name.replace("-", "_")  # variables of the environment have no hyphen: EDGED_CAMERA__NAME__PASSWORD
