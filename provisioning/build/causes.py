"""Known causes of failed builds, recognised in TensorRT's log: what it means and how to mend it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class Cause:
    """What a pattern in the log stands for."""

    pattern: re.Pattern[str]
    meaning: str
    remedy: str


def _cause(pattern: str, meaning: str, remedy: str) -> Cause:
    return Cause(re.compile(pattern, re.IGNORECASE), meaning, remedy)


# The first that matches wins: the more particular come first.
_OF_INSTALLATIONS = (
    _cause(
        r"nvinfer_builder_resource",
        "the library libnvinfer_builder_resource is missing or of another version",
        "install all of TensorRT in one version (tensorrt-libs from pip, or libnvinfer-bin and its kin from apt)",
    ),
)
_OF_DEVICES = (
    _cause(
        r"driver version is insufficient|cudaErrorInsufficientDriver|forward compatib|unsupported display driver"
        r"|error code:? (35|803|804)|built (with|for|against) CUDA",
        "this TensorRT was made for another CUDA than the driver offers",
        "take the TensorRT of your CUDA (tensorrt-cu12 or tensorrt-cu13; on a Jetson JetPack's own), or a newer driver",
    ),
    _cause(
        r"nvml",
        "NVML cannot be used, as happens in a container without the driver's tools",
        "start the container with --gpus all and NVIDIA_DRIVER_CAPABILITIES=compute,utility",
    ),
    _cause(
        r"libcuda\.so|no CUDA-capable device|CUDA initialization failure|CUDA_ERROR_(NO_DEVICE|NOT_INITIALIZED)"
        r"|returned nullptr|error code:? (100|999)",
        "TensorRT finds no CUDA driver or no device",
        "check nvidia-smi (on a Jetson: tegrastats); in a container pass the GPU with --gpus all or --runtime nvidia",
    ),
)
_OF_BUILDS = (
    _cause(
        r"out ?of ?memory|OutOfMemory|memory allocation|insufficient memory|bad_alloc",
        "device memory is short",
        "stop what else uses the GPU (systemctl stop edged), lower workspace_mb or the largest batch",
    ),
    _cause(
        r"could not find any implementation|no implementation|tactic.*(workspace|memory)",
        "no kernel fits into the workspace",
        "raise workspace_mb",
    ),
    _cause(
        r"plugin not found|getPluginCreator|no (plugin )?creator|could not find plugin",
        "the decode plugin is not known to this TensorRT",
        'set decode = "kernel"',
    ),
    _cause(
        r"no space left|cannot be written|ENOSPC",
        "the disk is full",
        "free space and run again",
    ),
)


CAUSES = (*_OF_INSTALLATIONS, *_OF_DEVICES, *_OF_BUILDS)
# Of a build that needs no GPU: where there is no driver, the log says so, and it is never the reason.
PORTABLE_CAUSES = (
    _cause(
        r"out ?of ?memory|OutOfMemory",
        "it needs more memory than workspace_mb allows, or this machine has no more",
        "raise workspace_mb, or lower the largest batch",
    ),
    *_OF_INSTALLATIONS,
    *_OF_BUILDS,
)


def explain(log: Sequence[str], causes: Sequence[Cause] = CAUSES) -> tuple[str, str]:
    """The known meaning and remedy of a log, the latest line that is recognised first; empty texts if none is.

    Args:
        log: what the child and TensorRT said.
        causes: to be recognised.
    """
    for line in reversed(log):
        for cause in causes:
            if cause.pattern.search(line):
                return cause.meaning, cause.remedy
    return "", ""


def tail(log: Sequence[str]) -> str:
    """The end of the log, indented, each line once in a row."""
    lines = [line for place, line in enumerate(log) if place == 0 or line != log[place - 1]]
    return "\n".join(f"    {line[:300]}" for line in lines[-TAIL_LINES:])
