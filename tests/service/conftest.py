"""One booted system with edged installed into it from wheels, for all tests of the service."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from tests.boxes import squares_picture, write_video
from tests.handmade import write_bundle
from tests.service.device import PROJECT, WHEELS, Device
from tests.service.guest import Guest, build, why_not

ROOT = Path(__file__).parents[2]
KEPT_WHEELS = Path(os.environ.get("EDGED_TEST_WHEELS", "/var/tmp/edged-wheels"))


def bootable() -> None:
    """Make the system that guests start from; skips, or fails where it is asked to run, where none can be booted."""
    if reason := why_not():
        if os.environ.get("EDGED_TESTS_MUST_RUN"):
            pytest.fail(reason)
        pytest.skip(reason)
    build()


def write_fixtures(folder: Path) -> Path:
    """The model, the video and the picture that `Device` configures."""
    write_bundle(folder / "squares")
    write_video(folder / "street.avi")
    assert cv2.imwrite(str(folder / "street.jpg"), squares_picture())
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    """A clean machine with a broker that asks for a password, one camera and edged installed; not started."""
    bootable()
    environment = {**os.environ, "WHEELS": str(KEPT_WHEELS), "PYTHON": sys.executable}
    subprocess.run(["sh", "systemd/install.sh", "wheels"], cwd=ROOT, check=True, capture_output=True, env=environment)
    folder = tmp_path_factory.mktemp("device")
    fixtures = write_fixtures(folder / "fixtures")
    with Guest(folder, binds={PROJECT: ROOT, WHEELS: KEPT_WHEELS, "/srv/fixtures": fixtures}) as guest:
        device = Device(guest)
        device.install()
        device.prepare()
        yield device
