"""Programs that laying needs, and a machine may lack."""

from __future__ import annotations

import shutil

import pytest


def require_tools() -> None:
    """Skip where xz or git is not installed."""
    for name in ("xz", "git"):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
