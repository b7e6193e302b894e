"""Reads the GPUs of this machine from NVML, without starting CUDA on any of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pynvml

from edged.core.errors import DetectorError
from edged.gpu.choice import GpuFacts

_CONTAINER = "in a container, give it the GPU (--gpus all, or the nvidia runtime)"
_EXPLAINED = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: (
        "there is no NVIDIA driver: libnvidia-ml.so.1 was not found",
        f"install the driver; {_CONTAINER} with NVIDIA_DRIVER_CAPABILITIES=compute,utility",
    ),
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: (
        "the NVIDIA driver is installed, but its kernel module is not loaded",
        "modprobe nvidia, or reboot after a driver update",
    ),
    pynvml.NVML_ERROR_NO_PERMISSION: (
        "this user may not open the NVIDIA devices",
        "allow /dev/nvidia* (group video or render; in the unit DeviceAllow=)",
    ),
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
        "the NVIDIA driver's library and kernel module are of different versions",
        "reboot: the driver was updated while its old module is loaded",
    ),
    pynvml.NVML_ERROR_GPU_IS_LOST: ("a GPU has fallen off the bus", "reboot; see dmesg for the Xid"),
    pynvml.NVML_ERROR_UNKNOWN: (
        "NVML fails with an unknown error, as it does in a container that has lost its GPU",
        "restart the container; `systemctl daemon-reload` on the host takes GPUs away from running ones",
    ),
}


def read_gpus() -> tuple[GpuFacts, ...]:
    """Every GPU and MIG instance, in NVML's order.

    Raises:
        DetectorError: no driver, no permission, or another failure of NVML; each with its own remedy.
    """
    with _session():
        return tuple(facts for index in range(pynvml.nvmlDeviceGetCount()) for facts in _facts(index))


def driver_version() -> str:
    """Version of the driver, e.g. `570.133.20`.

    Raises:
        DetectorError: no driver, no permission, or another failure of NVML.
    """
    with _session():
        return _text(pynvml.nvmlSystemGetDriverVersion())


@contextmanager
def _session() -> Iterator[None]:
    """NVML between init and shutdown; its errors become DetectorError with a remedy."""
    try:
        pynvml.nvmlInit()
        try:
            yield
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as exc:
        what, remedy = _EXPLAINED.get(exc.value, (f"NVML fails: {exc} ({exc.value})", _CONTAINER))
        raise DetectorError(what, remedy=remedy) from exc


def _facts(index: int) -> Iterator[GpuFacts]:
    """The GPU, then its MIG instances where it is partitioned."""
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    partitioned = _is_partitioned(handle)
    instances = list(_mig_instances(handle)) if partitioned else []
    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    name = _text(pynvml.nvmlDeviceGetName(handle))
    whole = GpuFacts(
        index=index,
        uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
        name=name,
        compute_capability=f"{major}.{minor}",
        free_bytes=_free_bytes(handle),
        partitioned=partitioned,
        mig=False,
    )
    yield whole
    for instance in instances:
        yield GpuFacts(
            index=index,
            uuid=_text(pynvml.nvmlDeviceGetUUID(instance)),
            name=_text(pynvml.nvmlDeviceGetName(instance)),
            compute_capability=whole.compute_capability,
            free_bytes=_free_bytes(instance),
            partitioned=False,
            mig=True,
        )


def _is_partitioned(handle: Any) -> bool:  # noqa: ANN401 - NVML's opaque handle
    """Whether only MIG instances can be used; there may be none."""
    try:
        current, _pending = pynvml.nvmlDeviceGetMigMode(handle)
    except pynvml.NVMLError_NotSupported:
        return False
    return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)


def _mig_instances(handle: Any) -> Iterator[Any]:  # noqa: ANN401 - NVML's opaque handle
    for place in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            yield pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, place)
        except pynvml.NVMLError_NotFound:
            continue  # indices of instances may have gaps


def _free_bytes(handle: Any) -> int | None:  # noqa: ANN401 - NVML's opaque handle
    try:
        return int(pynvml.nvmlDeviceGetMemoryInfo(handle).free)
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_NoPermission):
        return None  # integrated GPUs share system memory; a container with a MIG instance may not read its GPU's


def _text(value: str | bytes) -> str:
    """Text of what NVML's bindings return: older ones return bytes."""
    return value.decode() if isinstance(value, bytes) else value
