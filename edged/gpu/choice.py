"""Chooses the GPUs to use before CUDA starts, so that no other GPU ever gets a context."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edged.core.errors import ConfigError, DetectorError

logger = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"
AUTO = "auto"
_MB = 1 << 20


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """One GPU or MIG instance.

    Attributes:
        index: NVML's number of the GPU; a MIG instance has its GPU's.
        uuid: `GPU-...` or `MIG-...`.
        name: as NVML gives it.
        compute_capability: e.g. `8.7`.
        free_bytes: free memory; None where NVML cannot tell.
        partitioned: MIG is enabled, so that only its MIG instances can be used.
        mig: this is a MIG instance.
    """

    index: int
    uuid: str
    name: str
    compute_capability: str
    free_bytes: int | None
    partitioned: bool
    mig: bool

    @property
    def label(self) -> str:
        """Index, name and UUID."""
        return f"{self.index} {self.name} {self.uuid}"

    def __str__(self) -> str:
        free = "free memory unknown" if self.free_bytes is None else f"{self.free_bytes // _MB} MB free"
        return f"{self.label} ({free})"


def select(
    wanted: str,
    *,
    need_mb: int,
    read_gpus: Callable[[], Sequence[GpuFacts]],
    environ: MutableMapping[str, str] = os.environ,
    root: Path = Path("/"),
) -> GpuFacts | None:
    """Choose one GPU: `select_several` with one name."""
    return select_several((wanted,), need_mb=need_mb, read_gpus=read_gpus, environ=environ, root=root)[0]


def select_several(
    wanted: Sequence[str],
    *,
    need_mb: int,
    read_gpus: Callable[[], Sequence[GpuFacts]],
    environ: MutableMapping[str, str] = os.environ,
    root: Path = Path("/"),
) -> tuple[GpuFacts | None, ...]:
    """Choose GPUs and hide all others from CUDA. Call it before anything starts CUDA in this process.

    Args:
        wanted: indices and UUIDs of GPUs or MIG instances, or `auto` alone for the one with the most free memory.
        need_mb: free memory that `auto` requires, MiB.
        read_gpus: lists the GPUs, with NVML.
        environ: CUDA_VISIBLE_DEVICES is set in it.
        root: of the file system, for tests.

    Returns:
        The GPUs in the order named, which is how CUDA numbers them from then on; one None on a Jetson, whose integrated
        GPU NVML does not describe.

    Raises:
        ConfigError: `wanted` names no GPU of this machine, or one twice.
        DetectorError: no driver, no GPU, or too little free memory everywhere.
    """
    if is_jetson(root):
        if tuple(wanted) not in {(AUTO,), ("0",)}:
            names = ", ".join(map(repr, wanted))
            raise ConfigError(f"[engine] device {names}: a Jetson has one GPU", remedy='say device = "auto"')
        _require_memory(available_bytes(root), need_mb, "this Jetson")
        return (None,)
    found = _visible(read_gpus(), environ)
    chosen = (_most_free(found, need_mb),) if tuple(wanted) == (AUTO,) else _all_named(found, wanted)
    environ[VISIBLE] = ",".join(gpu.uuid for gpu in chosen)
    for gpu in chosen:
        logger.info("GPU: %s", gpu)
    return chosen


def is_jetson(root: Path = Path("/")) -> bool:
    """Whether this machine is a Jetson, told by files of L4T and of the device tree."""
    if (root / "etc/nv_tegra_release").exists():
        return True
    try:
        return b"nvidia,tegra" in (root / "proc/device-tree/compatible").read_bytes()
    except OSError:
        return False


def available_bytes(root: Path = Path("/")) -> int:
    """System memory available without swapping, which an integrated GPU shares; CUDA's figure omits the page cache."""
    for line in (root / "proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def _visible(gpus: Sequence[GpuFacts], environ: Mapping[str, str]) -> list[GpuFacts]:
    """The GPUs that CUDA_VISIBLE_DEVICES allows; all where it is not set."""
    if not gpus:
        raise DetectorError("the NVIDIA driver knows no GPU", remedy="check the card, and the container's GPU access")
    setting = environ.get(VISIBLE)
    if setting is None:
        return list(gpus)
    names = [name.strip() for name in setting.split(",") if name.strip()]
    shown = [gpu for gpu in gpus if any(_is_named(gpu, name) for name in names)]
    if not shown:
        raise DetectorError(f"{VISIBLE}={setting!r} hides every GPU from this process", remedy=f"unset {VISIBLE}")
    return shown


def _is_named(gpu: GpuFacts, name: str) -> bool:
    if name.isdigit():
        return gpu.index == int(name)
    return gpu.uuid.lower().startswith(name.lower())


def _all_named(gpus: Sequence[GpuFacts], wanted: Sequence[str]) -> tuple[GpuFacts, ...]:
    chosen: dict[str, str] = {}  # the name that chose it, by UUID
    found = tuple(_named(gpus, name) for name in wanted)
    for name, gpu in zip(wanted, found, strict=True):
        if gpu.uuid in chosen:
            raise ConfigError(f"[engine] device: {chosen[gpu.uuid]!r} and {name!r} are one GPU, {gpu.label}")
        chosen[gpu.uuid] = name
    return found


def _named(gpus: Sequence[GpuFacts], wanted: str) -> GpuFacts:
    if not (wanted.isdigit() or wanted.upper().startswith(("GPU-", "MIG-"))):
        raise ConfigError(f'[engine] device {wanted!r}: expected "auto", an index, or a UUID GPU-... or MIG-...')
    matching = [gpu for gpu in gpus if _is_named(gpu, wanted)]
    usable = [gpu for gpu in matching if not gpu.partitioned and not (wanted.isdigit() and gpu.mig)]
    if len(usable) == 1:
        return usable[0]
    listed = "; ".join(map(str, gpus))
    if matching and not usable:
        raise ConfigError(f"[engine] device {wanted!r} is cut into MIG instances; name one of them: {listed}")
    problem = "fits several GPUs" if usable else "is not a GPU of this machine"
    raise ConfigError(f"[engine] device {wanted!r} {problem}; there are: {listed}")


def _most_free(gpus: Sequence[GpuFacts], need_mb: int) -> GpuFacts:
    usable = [gpu for gpu in gpus if not gpu.partitioned]
    if not usable:
        raise DetectorError(
            f"every GPU is partitioned, but no MIG instance can be used: {'; '.join(map(str, gpus))}",
            remedy="create a compute instance: nvidia-smi mig -cci",
        )
    best = max(usable, key=lambda gpu: -1 if gpu.free_bytes is None else gpu.free_bytes)
    if best.free_bytes is not None:
        _require_memory(best.free_bytes, need_mb, "; ".join(map(str, usable)))
    return best


def _require_memory(free_bytes: int, need_mb: int, where: str) -> None:
    if free_bytes < need_mb * _MB:
        raise DetectorError(
            f"no GPU has {need_mb} MB of free memory (at most {free_bytes // _MB} MB: {where})",
            remedy="stop what else uses it, or lower [engine] free_memory_mb",
        )
