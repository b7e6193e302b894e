"""Whether an engine of the bundle was built for this very machine, and what to say when not."""

from __future__ import annotations

from dataclasses import dataclass

from edged.core.errors import BundleMismatch
from edged.core.manifest import EngineRecord, Manifest
from plugins.yolo_layer.contract import OPERATOR, VERSION

REMEDY = "run: edged-provision build"


@dataclass(frozen=True, slots=True)
class Machine:
    """What an engine is bound to.

    Attributes:
        tensorrt: version, e.g. `10.3.0`.
        gpu: device name.
        compute_capability: e.g. `8.7`.
    """

    tensorrt: str
    gpu: str
    compute_capability: str

    def __str__(self) -> str:
        return f"TensorRT {self.tensorrt} on {self.gpu}, SM {self.compute_capability}"


def require_engine(manifest: Manifest, *, precision: str) -> tuple[EngineRecord, ...]:
    """The bundle's engines of a precision; needs no GPU.

    Args:
        manifest: the bundle's.
        precision: `auto` for the one that the bundle was made for.

    Raises:
        BundleMismatch: there is none.
    """
    wanted = manifest.precision if precision == "auto" else precision
    engines = tuple(engine for engine in manifest.engines if engine.precision == wanted)
    if engines:
        return engines
    others = ", ".join(sorted({engine.precision for engine in manifest.engines}))
    held = f"only {others}" if others else "no engine at all"
    raise BundleMismatch(f"{manifest.name} holds no {wanted} engine for TensorRT, {held}", remedy=REMEDY)


def fitting(engines: tuple[EngineRecord, ...], machine: Machine) -> EngineRecord:
    """The engine that runs here.

    Raises:
        BundleMismatch: none does; the message says what they were built for and what this machine is.
    """
    problems = [_problem(engine, machine) for engine in engines]
    for engine, problem in zip(engines, problems, strict=True):
        if not problem:
            return engine
    raise BundleMismatch(f"{'; '.join(problems)}; running on {machine}", remedy=REMEDY)


def _problem(engine: EngineRecord, machine: Machine) -> str:
    """Why it does not run here; empty when it does."""
    made_for = Machine(engine.tensorrt, engine.gpu, engine.compute_capability)
    if made_for != machine:
        return f"{engine.file} was built for {made_for}"
    if engine.decode == "plugin" and engine.plugin_version != VERSION:
        return f"{engine.file} was built with {OPERATOR} version {engine.plugin_version}, this edged has {VERSION}"
    return ""
