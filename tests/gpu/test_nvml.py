"""NVML's answers become facts, its failures become messages that each say what to do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edged.core.errors import DetectorError

pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")

from edged.gpu import nvml  # noqa: E402 - after the skip

GIB = 1 << 30


class FakeNvml:
    """Two GPUs: one plain, one cut into two instances in places 0 and 3. Handles are strings."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = 0
        self.fail: dict[str, int] = {}
        self.fail_on: dict[tuple[str, str], int] = {}
        self.places = {0, 3}
        for name in dir(self):
            if name.startswith("nvml"):
                monkeypatch.setattr(pynvml, name, self._failing(name, getattr(self, name)))

    def _failing(self, name: str, call: Any) -> Any:
        def made(*args: Any) -> Any:
            if (name, *args) in self.fail_on:
                raise pynvml.NVMLError(self.fail_on[name, args[0]])
            if name in self.fail:
                raise pynvml.NVMLError(self.fail[name])
            return call(*args)

        return made

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's names
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        return f"gpu{index}"

    def nvmlDeviceGetCudaComputeCapability(self, handle: str) -> tuple[int, int]:  # noqa: N802
        return (8, 6) if handle == "gpu0" else (9, 0)

    def nvmlDeviceGetName(self, handle: str) -> str | bytes:  # noqa: N802
        return b"RTX A4000" if handle == "gpu0" else f"H200 {handle}"

    def nvmlDeviceGetUUID(self, handle: str) -> str:  # noqa: N802
        return f"MIG-{handle}" if "/" in handle else f"GPU-{handle}"

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(free=(3 if "/" in handle else 7) * GIB)

    def nvmlDeviceGetMigMode(self, handle: str) -> tuple[int, int]:  # noqa: N802
        if handle == "gpu0":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return 1, 1

    def nvmlDeviceGetMaxMigDeviceCount(self, _handle: str) -> int:  # noqa: N802
        return 5

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: str, place: int) -> str:  # noqa: N802
        if place not in self.places:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return f"{handle}/{place}"

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "570.133.20"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    return FakeNvml(monkeypatch)


def test_read_gpus_lists_gpus_and_their_instances(fake: FakeNvml) -> None:
    found = nvml.read_gpus()
    assert [(gpu.index, gpu.uuid, gpu.partitioned, gpu.mig) for gpu in found] == [
        (0, "GPU-gpu0", False, False),
        (1, "GPU-gpu1", True, False),
        (1, "MIG-gpu1/0", False, True),
        (1, "MIG-gpu1/3", False, True),
    ]
    assert found[0].name == "RTX A4000" and found[0].compute_capability == "8.6" and found[0].free_bytes == 7 * GIB
    assert found[3].compute_capability == "9.0" and found[3].free_bytes == 3 * GIB
    assert fake.open == 0


def test_read_gpus_memory_that_is_not_told_is_unknown(fake: FakeNvml) -> None:
    fake.fail["nvmlDeviceGetMemoryInfo"] = pynvml.NVML_ERROR_NOT_SUPPORTED
    assert {gpu.free_bytes for gpu in nvml.read_gpus()} == {None}


def test_read_gpus_in_a_container_that_has_only_an_instance(fake: FakeNvml) -> None:
    """Seen there: the instance may be asked for its memory, its GPU may not."""
    fake.fail_on["nvmlDeviceGetMemoryInfo", "gpu1"] = pynvml.NVML_ERROR_NO_PERMISSION
    assert [gpu.free_bytes for gpu in nvml.read_gpus()] == [7 * GIB, None, 3 * GIB, 3 * GIB]


def test_read_gpus_a_partitioned_gpu_without_instances_is_none_to_use(fake: FakeNvml) -> None:
    fake.places = set()
    assert [(gpu.uuid, gpu.partitioned) for gpu in nvml.read_gpus()] == [("GPU-gpu0", False), ("GPU-gpu1", True)]


def test_driver_version_is_text(fake: FakeNvml) -> None:
    assert nvml.driver_version() == "570.133.20"
    assert fake.open == 0


@pytest.mark.parametrize(
    ("call", "code", "message"),
    [
        ("nvmlInit", "LIBRARY_NOT_FOUND", "no NVIDIA driver.*--gpus all"),
        ("nvmlInit", "DRIVER_NOT_LOADED", "kernel module is not loaded; modprobe nvidia"),
        ("nvmlInit", "NO_PERMISSION", "may not open the NVIDIA devices; allow /dev/nvidia"),
        ("nvmlInit", "LIB_RM_VERSION_MISMATCH", "different versions; reboot"),
        ("nvmlDeviceGetHandleByIndex", "GPU_IS_LOST", "fallen off the bus"),
        ("nvmlDeviceGetCount", "UNKNOWN", "lost its GPU; restart the container"),
        ("nvmlDeviceGetUUID", "CORRUPTED_INFOROM", r"NVML fails: .* \(14\)"),
    ],
)
def test_nvml_failures_each_have_their_remedy(fake: FakeNvml, call: str, code: str, message: str) -> None:
    fake.fail[call] = getattr(pynvml, f"NVML_ERROR_{code}")
    with pytest.raises(DetectorError, match=message):
        nvml.read_gpus()
    assert fake.open == 0


def test_nvml_without_a_driver_says_so() -> None:
    """The real library, on a machine that has no driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as exc:
        if exc.value != pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
            pytest.skip(f"NVML is here and fails otherwise: {exc}")
    else:
        pynvml.nvmlShutdown()
        pytest.skip("this machine has a driver")
    with pytest.raises(DetectorError, match=r"libnvidia-ml\.so\.1 was not found"):
        nvml.read_gpus()
