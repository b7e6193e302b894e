"""Finds the engine of a bundle that was built for this machine, or the reasons why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edged.core.errors import BundleMismatch
from edged.core.manifest import EngineRecord, Manifest
from edged.gpu.tensorrt import KINDS, RTX, titled
from plugins.yolo_layer.contract import OPERATOR, VERSION

REMEDY = "run: edged-provision build NAME"


@dataclass(frozen=True, slots=True)
class Machine:
    """What an engine must have been built for to run here.

    Attributes:
        gpu: device name.
        compute_capability: e.g. `8.7`.
        tensorrt: versions that can be imported, by kind: e.g. `tensorrt`: `10.3.0`.
    """

    gpu: str
    compute_capability: str
    tensorrt: Mapping[str, str]

    def __str__(self) -> str:
        runtimes = " and ".join(titled(kind, version) for kind, version in self.tensorrt.items()) or "no TensorRT"
        return f"{runtimes} on {self.gpu}, SM {self.compute_capability}"


def require_engine(manifest: Manifest, *, precision: str) -> tuple[EngineRecord, ...]:
    """The bundle's engines of a precision, those of TensorRT itself first; needs no GPU.

    Args:
        manifest: the bundle's.
        precision: `fp32`, `fp16`, `int8`, or `auto` for the one that the bundle was made for.

    Raises:
        BundleMismatch: there is none.
    """
    wanted = manifest.precision if precision == "auto" else precision
    engines = [engine for engine in manifest.engines if engine.precision == wanted]
    if engines:
        return tuple(sorted(engines, key=_preference))
    others = ", ".join(sorted({engine.precision for engine in manifest.engines}))
    held = f"only {others}" if others else "no engine at all"
    raise BundleMismatch(f"{manifest.name} holds no {wanted} engine for TensorRT, {held}", remedy=REMEDY)


def fitting(engines: tuple[EngineRecord, ...], machine: Machine) -> EngineRecord:
    """The first engine that runs on this machine.

    Raises:
        BundleMismatch: none does; the message names what they were built for and this machine.
    """
    problems = [_problem(engine, machine) for engine in engines]
    for engine, problem in zip(engines, problems, strict=True):
        if not problem:
            return engine
    raise BundleMismatch(f"{'; '.join(problems)}; running on {machine}", remedy=REMEDY)


def built_for(engine: EngineRecord) -> str:
    """What an engine was built by and for, e.g. `TensorRT 10.3.0 on Orin, SM 8.7`."""
    built_by = titled(engine.kind, engine.tensorrt)
    if engine.kind == RTX:
        return f"{built_by}, SM {', '.join(engine.capabilities)}"
    return f"{built_by} on {engine.gpu}, SM {engine.compute_capability}"


def _preference(engine: EngineRecord) -> int:
    return KINDS.index(engine.kind) if engine.kind in KINDS else len(KINDS)


def _problem(engine: EngineRecord, machine: Machine) -> str:
    """Why the engine does not run here; empty when it does."""
    if engine.tensorrt != machine.tensorrt.get(engine.kind) or not _is_device(engine, machine):
        return f"{engine.file} was built for {built_for(engine)}"
    if engine.decode == "plugin" and engine.plugin_version != VERSION:
        return f"{engine.file} was built with {OPERATOR} version {engine.plugin_version}, this edged has {VERSION}"
    return ""


def _is_device(engine: EngineRecord, machine: Machine) -> bool:
    if engine.kind == RTX:
        return machine.compute_capability in engine.capabilities
    return (engine.gpu, engine.compute_capability) == (machine.gpu, machine.compute_capability)
