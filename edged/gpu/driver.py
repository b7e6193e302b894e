"""CUDA's driver API as cuda-python offers it, except that a function that the driver lacks is an error of ours."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import cuda.bindings
from cuda.bindings import driver as bound

from edged.core.errors import DetectorError
from edged.gpu.check import check

_NOT_FOUND = re.compile(r'function "?(cu\w+)"? (?:is )?not found', re.IGNORECASE)  # 13.0's words, and 13.4's
_TOO_NEW = 13  # cuda-bindings below it ask for nothing of ours that a driver of CUDA 12.0 lacks


class _Driver:
    """`cuda.bindings.driver` with its functions guarded.

    cuda-python asks the driver for the newest form of a function that it knows itself, and says only when the function
    is called, by a RuntimeError, that an older driver has none.

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
    """The newest CUDA that the driver speaks, e.g. `12.6`."""
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
