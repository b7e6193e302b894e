"""What holds before any command runs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("given", "expected"), [("", "LAZY"), ("EAGER", "EAGER")], ids=["unset", "said"])
def test_cuda_loads_kernels_lazily_unless_said_otherwise(given: str, expected: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "CUDA_MODULE_LOADING"}
    if given:
        environment["CUDA_MODULE_LOADING"] = given
    code = "import edged.__main__, os; print(os.environ['CUDA_MODULE_LOADING'])"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = f"{sys.executable} -m edged detect --help | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
