"""Builds engines with TensorRT in a child process."""

from __future__ import annotations

import base64
import copy
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edged.core.errors import DetectorError, UsageError
from edged.core.manifest import EngineRecord
from edged.gpu.tensorrt import TITLES, titled
from plugins.yolo_layer.contract import VERSION
from provisioning.build.causes import CAUSES, PORTABLE_CAUSES
from provisioning.build.maker import ENGINE, TIMING_CACHE, DecodeBy, engine_file
from provisioning.build.process import run_child

CHILD = (sys.executable, "-m", "provisioning.build.child")
PROBE_TIMEOUT_S = 120.0
AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Machine:
    """A TensorRT and the GPU that it uses.

    Attributes:
        kind: `tensorrt` or `rtx`.
        tensorrt: its version.
        gpu: name of the GPU; empty if there is none, which only TensorRT for RTX allows.
        compute_capability: of the GPU, e.g. `8.7`; empty without one.
        typed: networks are strongly typed.
        python_plugins: a plugin written in Python can be part of an engine.
        portable: engines can be built without a GPU, for several compute capabilities.
        capabilities: those that it builds for, e.g. `8.6`; only if portable.
        no_gpu: why no GPU was found; empty if one was.
    """

    kind: str
    tensorrt: str
    gpu: str
    compute_capability: str
    typed: bool
    python_plugins: bool
    portable: bool = False
    capabilities: tuple[str, ...] = ()
    no_gpu: str = ""

    @property
    def title(self) -> str:
        """For people: `TensorRT 10.3.0`."""
        return titled(self.kind, self.tensorrt)


class TensorRtMaker:
    """Builds engines for the device of this machine, or portable ones.

    Args:
        machine: from `probe`.
        decode: `plugin`, `kernel`, or `auto`: the plugin if this TensorRT takes plugins written in Python, else our
            kernel after the engine.
        timing_caches: folder where the timing cache is kept from build to build.
        device: `auto`, an index, or the UUID of a GPU or MIG instance, as in `[engine] device`.
        targets: compute capabilities of a portable engine.
        passed_over: why TensorRTs that come first were not taken; empty if none was.
        child: command of the child process; tests give another.

    Raises:
        UsageError: `plugin` was asked for, and this TensorRT takes none.
    """

    def __init__(
        self,
        machine: Machine,
        *,
        decode: str,
        timing_caches: Path,
        device: str = AUTO,
        targets: Sequence[str] = (),
        passed_over: str = "",
        child: Sequence[str] = CHILD,
    ) -> None:
        if decode == "plugin" and not machine.python_plugins:
            raise UsageError(
                f"{machine.title} takes no plugins written in Python ({TITLES['tensorrt']} 10.0 and up does)",
                remedy='set decode = "auto" or "kernel"',
            )
        self._asked_for = decode
        wants_plugin = decode == "plugin" or (decode == "auto" and machine.python_plugins)
        self.decode: DecodeBy = "plugin" if wants_plugin else "kernel"
        self.typed = machine.typed
        self._machine = machine
        self._caches = timing_caches
        self._device = device
        self._targets = tuple(targets)
        self.passed_over = passed_over
        self._child = tuple(child)

    @property
    def facts(self) -> Mapping[str, str]:
        """Everything that an engine depends on beside the model."""
        machine = self._machine
        decode = {"decode": self.decode, "plugin": VERSION if self.decode == "plugin" else ""}
        if machine.portable:  # whatever GPU is in this machine
            return {"kind": machine.kind, "tensorrt": machine.tensorrt, "targets": ", ".join(self._targets), **decode}
        device = {"gpu": machine.gpu, "compute_capability": machine.compute_capability}
        return {"tensorrt": machine.tensorrt, **device, **decode}

    @property
    def runs_here(self) -> bool:
        """Whether this machine has a device that runs what is built."""
        machine = self._machine
        return bool(machine.gpu) and (not machine.portable or machine.compute_capability in self._targets)

    @property
    def title(self) -> str:
        """What builds, for people."""
        return self._machine.title

    def warning(self, precision: str) -> str:
        """Why this precision (fp32, fp16 or int8) is a bad choice here; empty if it is not."""
        if self._machine.portable and precision == "int8":
            return (
                f"{self.title} very probably computes INT8 convolutions in floating point (NVIDIA lists INT8 for "
                "weights only, its engines write floats): nothing gained, some accuracy lost; FP16 is what it is for"
            )
        return ""

    def without_plugin(self) -> TensorRtMaker:
        """The same for a model whose engine gives finished boxes, as `EngineMaker.without_plugin` says."""
        if self._asked_for == "plugin":
            raise UsageError(
                'decode = "plugin": this model gives finished boxes, the plugin has nothing to decode',
                remedy='set decode = "auto" or "kernel"',
            )
        other = copy.copy(self)
        other.decode = "kernel"
        return other

    def build(
        self, model: Path, folder: Path, *, precision: str, batch: tuple[int, int, int], workspace_mb: int
    ) -> EngineRecord:
        """Build in a child process, as `EngineMaker.build` says; with a progress bar if TensorRT reports progress."""
        machine = self._machine
        kept = self._caches / f"timing-{machine.tensorrt}-sm{machine.compute_capability}.cache"
        job = {
            "kind": machine.kind,
            "model": str(model),
            "folder": str(folder),
            "precision": precision,
            "batch": batch,
            "workspace_mb": workspace_mb,
            "decode": self.decode,
            "device": self._device,
            "timing_cache": str(kept),
            "capabilities": self._targets,
        }
        encoded = base64.b64encode(json.dumps(job).encode()).decode()
        causes = PORTABLE_CAUSES if machine.portable else CAUSES
        run_child([*self._child, "build", encoded], what=machine.title, causes=causes)
        plan = folder / ENGINE
        if not plan.is_file() or not plan.stat().st_size:
            raise DetectorError(f"{machine.title} said it was done but left no engine")
        if not machine.portable:
            self._keep_timing(folder / TIMING_CACHE, kept)
        return EngineRecord(
            file=engine_file(precision, "" if machine.portable else machine.gpu, self._targets),
            tensorrt=machine.tensorrt,
            gpu="" if machine.portable else machine.gpu,
            compute_capability="" if machine.portable else machine.compute_capability,
            precision=precision,
            decode=self.decode,
            plugin_version=VERSION if self.decode == "plugin" else "",
            batch=batch,
            kind=machine.kind,
            capabilities=self._targets,
        )

    def _keep_timing(self, made: Path, kept: Path) -> None:
        if made.is_file() and made.stat().st_size:
            self._caches.mkdir(parents=True, exist_ok=True)
            temporary = kept.with_suffix(".tmp")
            temporary.write_bytes(made.read_bytes())
            temporary.replace(kept)


def probe(kind: str, device: str = AUTO, *, child: Sequence[str] = CHILD) -> Machine:
    """Ask a child process for a TensorRT and the GPU that an engine would be built for.

    Raises:
        DetectorError: one of them cannot be used; the message says why and what to do.
        NotInstalled: a Python package is missing.
    """
    said = run_child([*child, "probe", kind, device], what=TITLES[kind], timeout_s=PROBE_TIMEOUT_S)
    return Machine(**{**said, "capabilities": tuple(said["capabilities"])})
