"""Row 5: a network that loses packets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("nft") is None, reason="needs root and nftables")
def test_fault_ten_percent_of_packets_lost_costs_frames_and_nothing_else() -> None:
    command = ["unshare", "--net", sys.executable, "-m", "tests.faults.lossy"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
    if "Operation not" in done.stderr:
        pytest.skip("this kernel has no nftables for us")
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    print(f"row 5: {seen}")  # noqa: T201
    assert seen["sound"] > 50
    assert seen["lossy"] > 6  # TCP on loopback loses whole 64 kB segments and waits 200 ms for each
