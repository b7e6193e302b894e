"""An engine by TensorRT for RTX for the very device that is here, promised or not, and what the device says to it.

`edged-provision build` refuses a device that TensorRT for RTX does not name; here it is tried all the same, and a
refusal by TensorRT is a result. The engine is added to the store as one for this device, which `edged bench` takes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edged.core.errors import BundleMismatch, DetectorError, EdgedError
from edged.core.manifest import EngineRecord
from edged.gpu.tensorrt import RTX
from provisioning.build.bundle_engine import add_engine
from provisioning.build.maker import engine_file
from provisioning.build.tensorrt_build import CURRENT
from provisioning.build.tensorrt_maker import Machine, TensorRtMaker, probe
from provisioning.store import Store
from provisioning.verify.checked import verified

WORKSPACE_MB = 1024


class HereMaker(TensorRtMaker):
    """Builds for the device that is here, and says so in the record whether it was promised or not."""

    def build(
        self, model: Path, folder: Path, *, precision: str, batch: tuple[int, int, int], workspace_mb: int
    ) -> EngineRecord:
        """As its base, for `current`."""
        record = super().build(model, folder, precision=precision, batch=batch, workspace_mb=workspace_mb)
        here = (self._machine.compute_capability,)
        return dataclasses.replace(record, file=engine_file(precision, "", here), capabilities=here)


def examine(
    machine: Machine,
    name: str,
    store: Store,
    *,
    batch: tuple[int, int, int],
    frames: Path | None,
    work: Path,
    target: str = CURRENT,
) -> dict[str, Any]:
    """Build the engine of a bundle, add it, hold it against float32 on the CPU.

    Args:
        machine: a TensorRT for RTX and a device.
        name: of the bundle, which is its engine's precision.
        store: that holds it.
        batch: smallest, optimal and largest.
        frames: to verify on; None for no verification.
        work: for caches.
        target: `current`, or another capability.

    Returns:
        What was made, or `refused`: why TensorRT does not take a device that it does not name.

    Raises:
        EdgedError: it fails on one that it names, or the engine does not agree with the CPU.
    """
    promised = machine.compute_capability in machine.capabilities
    figures: dict[str, Any] = {"machine": dataclasses.asdict(machine), "promised": promised}
    here = f"{machine.gpu}, SM {machine.compute_capability}, {'' if promised else 'not '}named by {machine.title}"
    began_s = time.monotonic()
    try:
        maker = HereMaker(machine, decode="kernel", timing_caches=work, targets=(target,))
        bundle = store.open(name)
        built = add_engine(store, bundle, maker, precision=name, batch=batch, workspace_mb=WORKSPACE_MB)
        figures["build_s"] = round(time.monotonic() - began_s, 2)
        record = built.manifest.engines[-1]
        figures["plan_bytes"] = built.manifest.files[record.file].bytes
        said = [f"{here}: {record.file}, {figures['plan_bytes']} bytes, built in {figures['build_s']} s"]
        if frames is not None:
            figures["verdict"] = verified(store, built, frames).reason
            said.append(figures["verdict"])
    except (DetectorError, BundleMismatch) as exc:
        if promised:
            raise
        return {**figures, "refused": f"{here}: {' '.join(str(exc).split())}"}
    return {**figures, "lines": said}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print figures; 0 also where the device is refused."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.short_run.rtx", description=__doc__)
    parser.add_argument("name", choices=("fp16", "fp32"), help="of the bundle in the store, and the precision")
    parser.add_argument("--store", type=Path, required=True, metavar="DIR")
    parser.add_argument("--batch", type=int, nargs=3, default=(1, 4, 8), metavar=("MIN", "OPT", "MAX"))
    parser.add_argument("--frames", type=Path, metavar="DIR", help="made by `edged-provision sample`")
    options = parser.parse_args(arguments)
    smallest, best, largest = options.batch
    try:
        machine = probe(RTX)
        if not machine.gpu:
            raise DetectorError("this machine has no GPU that NVML knows")
        figures = examine(
            machine,
            options.name,
            Store(options.store),
            batch=(smallest, best, largest),
            frames=options.frames,
            work=options.store / "work",
        )
    except EdgedError as exc:
        sys.stderr.write(f"{exc}\n")
        return exc.exit_code
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
