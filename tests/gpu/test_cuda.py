"""The CUDA wrapper, the real bindings and all, on a driver that is a stub: every call and its arguments."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpu import cuda_driver_scenarios, cuda_scenarios, cuda_several_scenarios
from tests.gpu.host_kernels import FLAGS, ROOT

STUB = Path(__file__).with_name("host") / "libcuda_stub.cpp"


@pytest.fixture(scope="module")
def libcuda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler for the stub driver")
    out = tmp_path_factory.mktemp("stub") / "libcuda.so.1"
    command = [compiler, *FLAGS, "-Wno-unused-function", "-shared", "-Wl,-soname,libcuda.so.1", f"-I{ROOT}"]
    subprocess.run([*command, "-o", str(out), str(STUB), "-ldl"], check=True)
    return out


@pytest.mark.parametrize(
    ("module", "scenario"),
    [
        pytest.param(module.__name__, scenario.__name__, id=scenario.__name__)
        for module in (cuda_scenarios, cuda_driver_scenarios, cuda_several_scenarios)
        for scenario in module.SCENARIOS
    ],
)
def test_cuda(libcuda: Path, module: str, scenario: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CUDA_")}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", module, str(libcuda), scenario],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
