"""Implements `EngineMaker` with TensorRT in a child process; every way in which that can end becomes a message."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from edged.core.errors import DetectorError, EdgedError, UsageError
from edged.core.manifest import EngineRecord
from plugins.yolo_layer.contract import VERSION
from provisioning.build.causes import explain, tail
from provisioning.build.maker import ENGINE, TIMING_CACHE, Decode

CHILD = (sys.executable, "-m", "provisioning.build.child")
PROBE_TIMEOUT_S = 120.0
AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Machine:
    """TensorRT and the device that it was found with."""

    tensorrt: str
    gpu: str
    compute_capability: str
    typed: bool
    python_plugins: bool


class TensorRtMaker:
    """Builds engines for the device of this machine.

    Args:
        machine: from `probe`.
        decode: `auto` takes the plugin where Python plugins exist and our kernel behind the heads otherwise.
        timing_caches: folder where the timing cache is kept from build to build.
        device: `auto`, an index, or the UUID of a GPU or MIG instance, as in `[engine] device`.
        child: the command of the child process.

    Raises:
        UsageError: `plugin` was asked of a TensorRT before 10.
    """

    def __init__(
        self, machine: Machine, *, decode: str, timing_caches: Path, device: str = AUTO, child: Sequence[str] = CHILD
    ) -> None:
        if decode == "plugin" and not machine.python_plugins:
            raise UsageError(
                f"TensorRT {machine.tensorrt} takes no plugins written in Python (10.0 and up do)",
                remedy='set decode = "auto" or "kernel"',
            )
        wants_plugin = decode == "plugin" or (decode == "auto" and machine.python_plugins)
        self.decode: Decode = "plugin" if wants_plugin else "kernel"
        self.typed = machine.typed
        self._machine = machine
        self._caches = timing_caches
        self._device = device
        self._child = tuple(child)

    @property
    def facts(self) -> Mapping[str, str]:
        """What an engine is bound to."""
        machine = self._machine
        return {
            "tensorrt": machine.tensorrt,
            "gpu": machine.gpu,
            "compute_capability": machine.compute_capability,
            "decode": self.decode,
            "plugin": VERSION if self.decode == "plugin" else "",
        }

    def build(
        self, model: Path, folder: Path, *, precision: str, batch: tuple[int, int, int], workspace_mb: int
    ) -> EngineRecord:
        """Build in a child process; a progress bar where TensorRT tells its progress."""
        machine = self._machine
        kept = self._caches / f"timing-{machine.tensorrt}-sm{machine.compute_capability}.cache"
        job = {
            "model": str(model),
            "folder": str(folder),
            "precision": precision,
            "batch": batch,
            "workspace_mb": workspace_mb,
            "decode": self.decode,
            "device": self._device,
            "timing_cache": str(kept),
        }
        encoded = base64.b64encode(json.dumps(job).encode()).decode()
        run_child([*self._child, "build", encoded], what=f"TensorRT {machine.tensorrt}")
        plan = folder / ENGINE
        if not plan.is_file() or not plan.stat().st_size:
            raise DetectorError(f"TensorRT {machine.tensorrt} said it was done but left no engine")
        self._keep_timing(folder / TIMING_CACHE, kept)
        return EngineRecord(
            file=ENGINE,
            tensorrt=machine.tensorrt,
            gpu=machine.gpu,
            compute_capability=machine.compute_capability,
            precision=precision,
            decode=self.decode,
            plugin_version=self.facts["plugin"],
            batch=batch,
        )

    def _keep_timing(self, made: Path, kept: Path) -> None:
        if made.is_file() and made.stat().st_size:
            self._caches.mkdir(parents=True, exist_ok=True)
            temporary = kept.with_suffix(".tmp")
            temporary.write_bytes(made.read_bytes())
            temporary.replace(kept)


def probe(device: str = AUTO, *, child: Sequence[str] = CHILD) -> Machine:
    """TensorRT and the device that an engine would be built for.

    Raises:
        DetectorError: one of them is missing or unusable; the message says which, and how to mend it.
    """
    return Machine(**run_child([*child, "probe", device], what="TensorRT", timeout_s=PROBE_TIMEOUT_S))


def run_child(command: Sequence[str], *, what: str, timeout_s: float | None = None) -> dict[str, Any]:
    """Run a child that speaks as `provisioning.build.child` does; its result.

    Args:
        command: with its arguments.
        what: is at work, for messages.
        timeout_s: after which it is killed; None waits for ever, as builds take minutes to an hour.

    Raises:
        DetectorError: it said an error, was killed, crashed, or ended without a result.
    """
    with tempfile.TemporaryFile() as native:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=native,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as exc:
            raise DetectorError(f"{what}: the child process cannot be started: {exc.strerror}") from exc
        with process:
            try:
                said = _listen(process, timeout_s)
            finally:
                process.kill()  # nothing to a child that has ended; Ctrl-C must not leave one behind
        log = _lines(native)
    if "result" in said:
        result: dict[str, Any] = said["result"]
        return result
    raise _failure(what, process.returncode, said, log)


def _listen(process: subprocess.Popen[str], timeout_s: float | None) -> dict[str, Any]:
    """Events until the child ends; the last word of it that is no progress."""
    said: dict[str, Any] = {}
    if timeout_s is not None:
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            return {"error": f"no answer within {timeout_s:g} s", "log": []}
        for event in _events(output.splitlines()):
            said = event
        return said
    with tqdm(desc="build", unit="step", disable=None) as bar:
        for event in _events(process.stdout or ()):
            if "progress" in event:
                phase, step, steps = event["progress"]
                bar.set_description(f"build: {phase}", refresh=False)
                bar.total, bar.n = steps or None, step
                bar.refresh()
            else:
                said = event
    process.wait()
    return said


def _events(lines: Sequence[str] | IO[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue  # a library that prints
        if isinstance(event, dict):
            yield event


def _lines(native: IO[bytes]) -> list[str]:
    native.seek(0)
    return native.read().decode("utf-8", "replace").splitlines()


def _failure(what: str, status: int, said: Mapping[str, Any], native: list[str]) -> EdgedError:
    """Why the child gave no result, in one message with the log's tail."""
    if "error" in said:
        log = [*native, *said["log"], str(said["error"])]
        meaning, remedy = explain(log)
        shown = tail([*native, *said["log"]])
        message = f"{what} failed: {said['error']}" + (f" ({meaning})" if meaning else "")
        return DetectorError(message + (f"\n{shown}\n  " if shown else ""), remedy=remedy)
    if status == -signal.SIGKILL:
        return DetectorError(
            f"{what} was killed while it worked, most likely because this machine ran out of memory",
            remedy="stop other programs, lower workspace_mb or the largest batch, or add swap",
        )
    ending = f"crashed ({signal.Signals(-status).name})" if status < 0 else f"ended with {status} without a result"
    meaning, remedy = explain(native)
    shown = tail(native)
    message = f"{what} {ending}" + (f": {meaning}" if meaning else "")
    return DetectorError(message + (f"\n{shown}\n  " if shown else ""), remedy=remedy)
