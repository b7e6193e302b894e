"""Checks the status of each CUDA call: a failed one becomes an error that names it."""

from __future__ import annotations

from typing import Any

from edged.core.errors import DetectorError
from edged.gpu.errors import DeviceLost

# The driver documents these as leaving the context inconsistent: "the process must be terminated and relaunched".
STICKY = frozenset(
    {
        "CUDA_ERROR_DEINITIALIZED",
        "CUDA_ERROR_ECC_UNCORRECTABLE",
        "CUDA_ERROR_NVLINK_UNCORRECTABLE",
        "CUDA_ERROR_ILLEGAL_ADDRESS",
        "CUDA_ERROR_LAUNCH_TIMEOUT",
        "CUDA_ERROR_CONTEXT_IS_DESTROYED",
        "CUDA_ERROR_ASSERT",
        "CUDA_ERROR_HARDWARE_STACK_ERROR",
        "CUDA_ERROR_ILLEGAL_INSTRUCTION",
        "CUDA_ERROR_MISALIGNED_ADDRESS",
        "CUDA_ERROR_INVALID_ADDRESS_SPACE",
        "CUDA_ERROR_INVALID_PC",
        "CUDA_ERROR_LAUNCH_FAILED",
        "CUDA_ERROR_TENSOR_MEMORY_LEAK",
        "CUDA_ERROR_CONTAINED",
        "CUDA_ERROR_MPS_CLIENT_TERMINATED",
        "CUDA_ERROR_EXTERNAL_DEVICE",
        "CUDA_ERROR_UNKNOWN",
    }
)
_REMEDIES = {
    "CUDA_ERROR_OUT_OF_MEMORY": "free device memory, or set a smaller batch or another device",
    "CUDA_ERROR_NO_DEVICE": "no GPU is visible to CUDA; check CUDA_VISIBLE_DEVICES and the container's GPU access",
    "CUDA_ERROR_INVALID_DEVICE": "CUDA sees fewer GPUs than were chosen; of MIG instances it may see only one",
    "CUDA_ERROR_DEVICE_UNAVAILABLE": "another process may hold the GPU for itself; see nvidia-smi -q -d COMPUTE",
    "CUDA_ERROR_UNSUPPORTED_PTX_VERSION": "update the NVIDIA driver",
    "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH": "reboot: the loaded kernel module and the driver's libraries differ",
    "CUDA_ERROR_NO_BINARY_FOR_GPU": "the kernels were compiled for another GPU; empty the kernel cache",
    "CUDA_ERROR_OPERATING_SYSTEM": "an operating-system call failed; check access to /dev/nvidia*",
}


def check(call: str, result: tuple[Any, ...]) -> Any:  # noqa: ANN401 - the binding's own return values
    """Return the values of a cuda-python driver call if its status is success.

    Args:
        call: the function's name, for the message.
        result: the status, then the values.

    Returns:
        None, the value, or the tuple of values.

    Raises:
        DeviceLost: only a new process helps.
        DetectorError: any other failure.
    """
    status, *values = result
    if int(status) == 0:
        return values[0] if len(values) == 1 else tuple(values) or None
    raise failure(call, status)


def failure(call: str, status: Any) -> DetectorError:  # noqa: ANN401 - an enum of the binding
    """The error for a failed call's status."""
    name = getattr(status, "name", str(status))
    message = f"{call} failed: {name} ({int(status)})"
    if name in STICKY:
        return DeviceLost(f"{message}; all later calls will fail, too", remedy="the process must be started again")
    return DetectorError(message, remedy=_REMEDIES.get(name, ""))
