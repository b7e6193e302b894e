"""JSON Schemas (draft 2020-12) of every message, shipped with the package."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

NAMES = ("detections", "events", "health", "info", "objects", "stats", "status")


def load(name: str) -> dict[str, Any]:
    """The schema of one message kind, one of NAMES.

    Raises:
        ValueError: no such message kind.
    """
    if name not in NAMES:
        raise ValueError(f"no schema {name!r}; there are {', '.join(NAMES)}")
    schema: dict[str, Any] = json.loads((files(__package__) / f"{name}.json").read_text(encoding="utf-8"))
    return schema
