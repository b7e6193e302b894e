"""The CUDA wrapper, the real bindings and all, on a driver that is a stub: every call and its arguments."""

from __future__ import annotations

import pytest

from tests.gpu import cuda_driver_scenarios, cuda_scenarios, cuda_several_scenarios
from tests.gpu.driver_process import libcuda, run_python


@pytest.mark.parametrize(
    ("module", "scenario"),
    [
        pytest.param(module.__name__, scenario.__name__, id=scenario.__name__)
        for module in (cuda_scenarios, cuda_driver_scenarios, cuda_several_scenarios)
        for scenario in module.SCENARIOS
    ],
)
def test_cuda(module: str, scenario: str) -> None:
    done = run_python("-m", module, str(libcuda()), scenario)
    assert done.returncode == 0, done.stdout + done.stderr
