"""Commands for people to type next."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from edged.core.paths import MODELS

STORE_VARIABLE = "EDGED_STORE"


def default_store() -> Path:
    """The store's directory: the environment variable EDGED_STORE, else the daemon's model directory."""
    return Path(os.environ.get(STORE_VARIABLE) or MODELS)


def command_line(*words: str | Path, store: Path | None = None) -> str:
    """An `edged-provision` command for people to type, quoted for a shell; with `--store` unless it is the default."""
    at = ("--store", store) if store is not None and store != default_store() else ()
    return shlex.join(map(str, ("edged-provision", *words, *at)))
