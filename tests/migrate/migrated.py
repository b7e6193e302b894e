"""Migrates configurations of Frigate as tests write them, and loads what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from edged.config import Settings, load_settings
from edged.core.errors import DataError
from edged.migrate.frigate import edged_toml
from tests.config.files import write

MINIMAL = """
    mqtt:
      host: localhost
    cameras:
      gate:
        ffmpeg:
          inputs:
            - path: rtsp://10.0.0.9/stream
              roles: [detect]
        detect: {width: 1280, height: 720}
"""


@dataclass(frozen=True)
class Migrated:
    """An edged.toml that was made, and the settings that edged's own loader reads from it."""

    text: str
    settings: Settings

    def block(self, name: str) -> list[str]:
        """The lines of the camera `name`, with its zones and masks."""
        cameras = self.text.split("[[camera]]\n")[1:]
        return next(block for block in cameras if f'name = "{name}"\n' in block).splitlines()

    def has(self, *lines: str) -> bool:
        """Whether each of the lines stands there."""
        missing = [line for line in lines if line not in self.text.splitlines()]
        assert not missing, f"{missing} are not in\n{self.text}"
        return True


def frigate_file(folder: Path, text: str | bytes) -> Path:
    path = folder / "config.yml"
    path.write_bytes(text if isinstance(text, bytes) else dedent(text).encode())
    return path


def migrated(folder: Path, text: str) -> Migrated:
    made, cameras = edged_toml(frigate_file(folder, text))
    settings = load_settings(write(folder, made))
    assert len(settings.camera) == cameras
    return Migrated(made, settings)


def camera(keys: str) -> str:
    """`MINIMAL` with further keys of its camera, at any indentation."""
    lines = [f"        {line}" for line in dedent(keys).strip("\n").splitlines()]
    return "\n".join([MINIMAL.rstrip(), *lines, ""])


def refused(folder: Path, text: str | bytes) -> str:
    with pytest.raises(DataError) as caught:
        edged_toml(frigate_file(folder, text))
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder / "config.yml") in message
    assert "; " in message, "it says how to mend it"
    return message
