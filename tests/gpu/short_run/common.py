"""What the steps of the short run share: their options, the environment of what was carried, their end.

The standard library only: a machine lacks the packages until the first step has unpacked them.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.gpu.report import line_of, table_lines, write_summary
from tests.gpu.short_run.receive import WORK
from tests.gpu.steps import PASSED, REFUSED, Budget, Outcome, Plan, Step, run_plan
from tests.gpu.tasks import Runner

_MARGIN_S = 6.0  # of a step's time, for ending what hangs and telling it


@dataclass(frozen=True, slots=True)
class Carried:
    """What was carried to the machine.

    Attributes:
        folders: of gpu-files, carried with this step.
        work: where archives are put together and unpacked.
    """

    folders: tuple[Path, ...]
    work: Path

    @property
    def runner(self) -> Runner:
        """The machine's own Python with the packages that it lacks."""
        return Runner(environment={"PYTHONPATH": _joined("PYTHONPATH", self.work / "site"), **self._caches})

    @property
    def rtx_runner(self) -> Runner:
        """The same with TensorRT for RTX."""
        rtx = self.work / "rtx"
        environment = {
            "PYTHONPATH": _joined("PYTHONPATH", rtx, self.work / "site"),
            "LD_LIBRARY_PATH": _joined("LD_LIBRARY_PATH", rtx / "tensorrt_rtx_libs"),
        }
        return Runner(environment={**environment, **self._caches})

    @property
    def tensorrt_runner(self) -> Runner:
        """The Python that TensorRT 8.5.3 came with."""
        return Runner(python=str(self.work / "tensorrt" / "run"), environment=self._caches)

    def receive(self, *archives: str, limit_s: float = 60.0) -> Step:
        """Take the folders; these archives must be whole then, and are unpacked."""
        arguments = (*map(str, self.folders), "--work", str(self.work), "--unpack", *archives)
        return Runner().module("files", "tests.gpu.short_run.receive", *arguments, limit_s=limit_s)

    @property
    def _caches(self) -> dict[str, str]:
        return {"CACHE_DIRECTORY": str(self.work / "cache")}


def _joined(variable: str, *paths: Path) -> str:
    """The paths before what the variable holds."""
    held = os.environ.get(variable, "")
    return os.pathsep.join([*map(str, paths), *([held] if held else [])])


def run_step(
    number: int,
    make_plan: Callable[[Carried], Plan],
    arguments: Sequence[str] | None,
    *,
    seconds: float,
    about: str,
) -> int:
    """Run a step of the short run; the exit code: 0 where all of it passed, or the device was refused.

    Args:
        number: of the step.
        make_plan: what it does.
        arguments: of the command line.
        seconds: that it has, unless the command line says otherwise.
        about: the step, for --help.
    """
    parser = argparse.ArgumentParser(prog=f"python3 -m tests.gpu.short_run.step_{number}", description=about)
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="of gpu-files, carried with this step")
    out = os.environ.get("OUT") or "gpu-proof"
    parser.add_argument("--out", type=Path, default=Path(out), help="folder of the results (default: %(default)s)")
    parser.add_argument("--work", type=Path, default=WORK, help="for what was carried (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=seconds, help="it ends by then (default: %(default)g)")
    options = parser.parse_args(arguments)
    began_s = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    log, summary = options.out / f"step-{number}.log", options.out / f"step-{number}.json"
    log.unlink(missing_ok=True)

    def tell(outcomes: Sequence[Outcome]) -> None:
        print("\n".join((line_of(outcomes[-1]), *table_lines(outcomes[-1]))), flush=True)  # noqa: T201
        write_summary(outcomes, summary)

    carried = Carried(tuple(folder.absolute() for folder in options.folders), options.work.absolute())
    outcomes = run_plan(make_plan(carried), lambda _: log, budget=Budget(options.seconds - _MARGIN_S), tell=tell)
    counts = {state: sum(outcome.state == state for outcome in outcomes) for state in {each.state for each in outcomes}}
    told = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    sys.stdout.write(f"step {number}: {told} in {time.monotonic() - began_s:.0f} s; {summary}\n")
    return 0 if set(counts) <= {PASSED, REFUSED} else 1
