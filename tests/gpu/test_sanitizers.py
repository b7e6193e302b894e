"""The kernels under the sanitizers: no byte beyond a buffer, no overflow, no undefined shift."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.gpu.host_kernels import ROOT

TESTS = (
    "tests/plugins/test_decode_kernel.py",
    "tests/gpu/test_nms_kernel.py",
    "tests/gpu/test_nv12_kernel.py",
    "tests/gpu/test_preprocess_kernel.py",
    "tests/gpu/test_rows_kernel.py",
)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kernels_are_clean_under_the_sanitizers() -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    found = subprocess.run([compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    library = found.stdout.strip()
    if not os.path.isabs(library):  # a bare name where it has none
        pytest.skip("the compiler has no address sanitizer")
    environment = {
        **os.environ,
        "EDGED_HOST_FLAGS": "-fsanitize=address,undefined -fno-sanitize-recover=all -g",
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
        "PYTHONMALLOC": "malloc",
    }
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-s",
            "-m",
            "not gpu",
            "-p",
            "no:cacheprovider",
            "-o",
            "addopts=--import-mode=importlib",
            *TESTS,
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
