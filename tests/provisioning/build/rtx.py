"""Runs `rtx_child.py`, and what it must have said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def child(work: str, folder: Path, **environment: str) -> dict[str, dict[str, Any]]:
    """What the child says of each thing, by its name."""
    command = [sys.executable, str(Path(__file__).with_name("rtx_child.py")), work, str(folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=100, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return {said.pop("name"): said for said in map(json.loads, done.stdout.splitlines())}


def require_built(said: Mapping[str, Any]) -> None:
    assert "error" not in said, said
    assert said["bytes"] > 100_000
    assert "Building engine" in said["phases"] and said["steps"] > 20
    assert not [line for line in said["log"] if line.startswith("ERROR")]
