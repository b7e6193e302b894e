"""Tests of one file run on one worker: what a module's fixtures cost is paid once."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parent
FILES = ("test_percentiles.py", "core/test_text.py", "core/test_options.py", "core/test_sources.py")


def test_a_file_stays_on_one_worker() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "2", "-v", *(f"tests/{file}" for file in FILES)],
        cwd=ROOT.parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    workers = defaultdict(set)
    for worker, file in re.findall(r"^\[(gw\d)\] .* PASSED tests/([\w/]+\.py)", done.stdout, re.MULTILINE):
        workers[file].add(worker)
    assert workers.keys() == set(FILES)
    assert all(len(of_file) == 1 for of_file in workers.values()), workers
    assert set().union(*workers.values()) == {"gw0", "gw1"}
