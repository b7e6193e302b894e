"""Chooses which of the installed TensorRTs builds engines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edged.core.errors import EdgedError, NotInstalled
from edged.gpu.tensorrt import RTX, installed
from provisioning.build.targets import THIS, targets
from provisioning.build.tensorrt_maker import AUTO, Machine, TensorRtMaker, probe

TIMING_CACHES = "timing"
NONE_INSTALLED = "TensorRT is not installed here"
_REMEDY = "install TensorRT (on a Jetson it is there: apt install python3-libnvinfer), or: pip install 'edged[rtx]'"


def find_maker(*, tensorrt: str, device: str, decode: str, gpus: Sequence[str], work: Path) -> TensorRtMaker:
    """Find what builds engines on this machine.

    Args:
        tensorrt: `tensorrt`, `rtx`, or `auto`: the first of them that is installed and works.
        device: the GPU, as in `[engine] device`.
        decode: `plugin`, `kernel`, or `auto`.
        gpus: what a portable engine is built for, see `targets`.
        work: folder for what is kept from build to build: the timing caches lie below it.

    Raises:
        NotInstalled: no TensorRT is installed.
        DetectorError: none of them works here; the message says why.
        BundleMismatch, UsageError: it does not build what was asked for.
    """
    machine, passed_over = (probe(tensorrt, device), "") if tensorrt != AUTO else _first_that_works(device, gpus)
    return TensorRtMaker(
        machine,
        decode=decode,
        timing_caches=work / TIMING_CACHES,
        device=device,
        targets=targets(machine, gpus),
        passed_over=passed_over,
    )


def _first_that_works(device: str, gpus: Sequence[str]) -> tuple[Machine, str]:
    """The first TensorRT that works, and why those before it do not (empty if it is the first)."""
    kinds = installed()
    if not kinds:
        raise NotInstalled(NONE_INSTALLED, remedy=_REMEDY)
    if set(gpus) - {THIS} and RTX in kinds:
        kinds = (RTX,)  # only it builds for devices that are not here
    problems: list[EdgedError] = []
    for kind in kinds:
        try:
            return probe(kind, device), "; ".join(map(str, problems))
        except EdgedError as exc:
            problems.append(exc)
    raise type(problems[0])("; ".join(map(str, problems)))
