"""Known causes of failed builds, recognised in TensorRT's log, each with its meaning and remedy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class Cause:
    """A pattern of a log line, what it means, and what to do about it."""

    pattern: re.Pattern[str]
    meaning: str
    remedy: str


def _cause(pattern: str, meaning: str, remedy: str) -> Cause:
    return Cause(re.compile(pattern, re.IGNORECASE), meaning, remedy)


# The first match wins, so specific patterns come first.
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
        r"FP32 GEMM is not supported",
        "TensorRT for RTX multiplies no float32 matrices on cards of compute capability 7.5, as attention needs it",
        'say precision = "fp16" or leave 7.5 out',
    ),
    _cause(
        r"no space left|cannot be written|ENOSPC",
        "the disk is full",
        "free space and run again",
    ),
)


CAUSES = (*_OF_INSTALLATIONS, *_OF_DEVICES, *_OF_BUILDS)
# For builds that need no GPU: their log mentions a missing driver, but that is never the reason.
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
    """Meaning and remedy of the last line that matches a known cause; two empty texts if none does.

    Args:
        log: lines of the child process and of TensorRT, oldest first.
        causes: to look for.
    """
    for line in reversed(log):
        for cause in causes:
            if cause.pattern.search(line):
                return cause.meaning, cause.remedy
    return "", ""


def tail(log: Sequence[str]) -> str:
    """The last TAIL_LINES lines, indented; a line that repeats is shown once."""
    lines = [line for place, line in enumerate(log) if place == 0 or line != log[place - 1]]
    return "\n".join(f"    {line[:300]}" for line in lines[-TAIL_LINES:])
