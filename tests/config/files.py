"""Configuration files as tests write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.config import load_settings
from edged.core.errors import ConfigError

MINIMAL = '[[camera]]\nname = "gate"\nsource = "gate.mp4"\n'


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "edged.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o600)
    return path


def refused(folder: Path, text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(write(folder, text))
    assert caught.value.exit_code == 78
    return str(caught.value)
