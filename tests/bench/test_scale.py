"""The tool behind `make scale`: few devices, a real broker, every message accounted for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.brokers import MOSQUITTO


@pytest.mark.parametrize("qos", [0, 1])
def test_scale_hears_every_message_and_shares_them(qos: int) -> None:
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed: no broker to test against (apt-get install mosquitto)")
    command = [
        sys.executable,
        "-m",
        "tests.scale",
        "--devices",
        "3",
        "--seconds",
        "2",
        "--rate",
        "20",
        "--qos",
        str(qos),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = done.stdout.splitlines()[-1].split()
    assert figures[0] == "3"
    assert figures[2] == figures[3] and int(figures[2]) > 60
    assert figures[-2:] == ["0.50", "0.50"]
