"""Chooses the compute capabilities that a portable engine is built for."""

from __future__ import annotations

from collections.abc import Sequence

from edged.core.errors import BundleMismatch, UsageError
from provisioning.build.tensorrt_maker import Machine

ALL, THIS = "all", "this"


def targets(machine: Machine, wanted: Sequence[str]) -> tuple[str, ...]:
    """The capabilities to build for, ascending; empty where engines are not portable.

    Args:
        machine: TensorRT and the GPU of this machine, if any.
        wanted: capabilities such as `8.6`; `this` for the GPU of this machine; `all` for every one that TensorRT knows.
            Empty means `this`, or `all` on a machine without GPU.

    Raises:
        BundleMismatch: TensorRT does not build for this GPU or for a wanted capability.
        UsageError: this TensorRT builds for the GPU of this machine only, or `this` was asked for without a GPU.
    """
    if not machine.portable:
        if set(wanted) - {THIS}:
            raise UsageError(
                f"{machine.title} builds for the GPU of this machine only, not for {', '.join(wanted)}",
                remedy='leave gpus out, or take TensorRT for RTX (tensorrt = "rtx")',
            )
        return ()
    if not wanted:
        wanted = (THIS,) if machine.gpu else (ALL,)
    chosen = {capability for name in wanted for capability in _named(machine, name)}
    return tuple(sorted(chosen, key=_number))


def _named(machine: Machine, name: str) -> tuple[str, ...]:
    if name == ALL:
        return machine.capabilities
    if name == THIS and not machine.gpu:
        why = f" ({machine.no_gpu})" if machine.no_gpu else ""
        raise UsageError(
            f"this machine has no GPU to build for{why}", remedy="name compute capabilities, e.g. 8.6, or all"
        )
    capability = machine.compute_capability if name == THIS else name
    if capability not in machine.capabilities:
        whose = f"{machine.gpu} is SM {capability}" if name == THIS else f"asked for was {capability}"
        raise BundleMismatch(
            f"{machine.title} builds for SM {', '.join(machine.capabilities)}; {whose}",
            remedy="take TensorRT itself for it, on the device" if name == THIS else "name some of these",
        )
    return (capability,)


def _number(capability: str) -> tuple[int, ...]:
    return tuple(int(part) for part in capability.split("."))
