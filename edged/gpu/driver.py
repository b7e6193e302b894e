"""CUDA's driver API as in cuda-python, except that a function that the driver lacks raises DetectorError."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import cuda.bindings
from cuda.bindings import driver as bound

from edged.core.errors import DetectorError
from edged.gpu.check import check

_NOT_FOUND = re.compile(r'function "?(cu\w+)"? (?:is )?not found', re.IGNORECASE)  # of bindings 13.0 and 13.4
_TOO_NEW = 13  # older cuda-bindings need no function that a driver of CUDA 12.0 lacks, of those used here


class _Driver:
    """`cuda.bindings.driver` with its functions guarded.

    cuda-python looks up the newest version of each function that it knows. That an older driver lacks it, it only
    reports when the function is called, by a RuntimeError.

    Raises:
        DetectorError: from a function that the driver lacks.
    """

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as the module has it
        value = getattr(bound, name)
        if name.startswith("cu"):
            value = _guarded(value)
        setattr(self, name, value)
        return value


driver = _Driver()


def driver_cuda_version() -> str:
    """The newest CUDA version that the driver supports, e.g. `12.6`."""
    version = int(check("cuDriverGetVersion", bound.cuDriverGetVersion()))
    return f"{version // 1000}.{version % 1000 // 10}"


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any) -> Any:  # noqa: ANN401 - the binding's own
        try:
            return function(*arguments)
        except RuntimeError as exc:
            missing = _NOT_FOUND.search(str(exc))
            if missing is None:
                raise
            raise _lacking(missing[1]) from exc

    return call


def _lacking(function: str) -> DetectorError:
    cuda_version, bindings = driver_cuda_version(), cuda.bindings.__version__
    older_do = int(bindings.split(".")[0]) >= _TOO_NEW and not cuda_version.startswith("11.")
    return DetectorError(
        f"the NVIDIA driver, of CUDA {cuda_version}, lacks {function}, which cuda-bindings {bindings} calls",
        remedy=f"pip install 'cuda-bindings<{_TOO_NEW}', or update the driver" if older_do else "update the driver",
    )
