"""CUDA statuses: success gives the values, failure one error that names the call, sticky ones end the process."""

from __future__ import annotations

import enum

import pytest

from edged.core.errors import DetectorError
from edged.gpu.check import _REMEDIES, STICKY, check
from edged.gpu.errors import DeviceLost


class Status(enum.IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_DEVICE_UNAVAILABLE = 46
    CUDA_ERROR_ILLEGAL_ADDRESS = 700


def test_check_success_gives_the_values() -> None:
    assert check("cuX", (Status.CUDA_SUCCESS,)) is None
    assert check("cuX", (Status.CUDA_SUCCESS, 7)) == 7
    assert check("cuX", (Status.CUDA_SUCCESS, 7, 8)) == (7, 8)


def test_check_failure_names_the_call_and_the_remedy() -> None:
    with pytest.raises(DetectorError, match=r"cuMemAlloc failed: CUDA_ERROR_OUT_OF_MEMORY \(2\); free device memory"):
        check("cuMemAlloc", (Status.CUDA_ERROR_OUT_OF_MEMORY, 0))
    with pytest.raises(DetectorError, match=r"^cuX failed: CUDA_ERROR_INVALID_VALUE \(1\)$") as caught:
        check("cuX", (Status.CUDA_ERROR_INVALID_VALUE,))
    assert not isinstance(caught.value, DeviceLost)


def test_check_sticky_failure_is_a_lost_device() -> None:
    with pytest.raises(DeviceLost, match=r"ILLEGAL_ADDRESS \(700\); all later calls will fail, too") as caught:
        check("cuEventQuery", (Status.CUDA_ERROR_ILLEGAL_ADDRESS,))
    assert caught.value.exit_code == 70


def test_check_a_gpu_that_another_process_holds_is_not_lost() -> None:
    with pytest.raises(DetectorError, match="another process may hold the GPU") as caught:
        check("cuDevicePrimaryCtxRetain", (Status.CUDA_ERROR_DEVICE_UNAVAILABLE, 0))
    assert not isinstance(caught.value, DeviceLost)


def test_check_knows_errors_that_the_driver_has() -> None:
    driver = pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
    known = {status.name for status in driver.CUresult}
    assert known >= STICKY | set(_REMEDIES)
