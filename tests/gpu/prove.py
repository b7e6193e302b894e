"""Everything that only a GPU can show, by one command: `python -m tests.gpu.prove --help`.

Each step is a process of its own with a limit, and one that fails stops none of the others; together they take no
longer than --minutes, where a machine is lent. What they printed, and a summary as JSON, are left in a folder. Nothing
beyond the standard library is imported here: a step whose packages are missing says so, the others run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.gpu import tasks
from tests.gpu.report import line_of, table_lines, write_summary
from tests.gpu.steps import PASSED, Budget, Outcome, Plan, Step, run_plan
from tests.gpu.tasks import Runner


def plan(options: argparse.Namespace, store: Path) -> Plan:
    """In order of worth: should the time run out, the first are done."""
    runner = Runner()
    machine = yield tasks.facts(runner)
    yield tasks.gpu_tests(runner, "kernels", tasks.ALL_TESTS)
    if options.bundle:
        yield from _engines(runner, options, store, tasks.batches((machine.figures or {}).get("tensorrt", "")))
    yield tasks.sanitizer(runner, "memcheck", tasks.KERNEL_TESTS)
    yield tasks.sanitizer(runner, "racecheck", tasks.KERNEL_TESTS[:2])


def _engines(runner: Runner, options: argparse.Namespace, store: Path, batch: tuple[int, int, int]) -> Plan:
    """Engines of the bundle and what they do."""
    names = (yield tasks.fill(runner, options.bundle, store)).figures
    if not names:
        return
    for name in names:
        yield tasks.engine(runner, name, store, batch, options.frames)
    torch = ("--torch", str(options.torch)) if options.torch else ()
    yield tasks.bench(runner, "bench", store, names, *torch)
    yield tasks.bench(runner, "bench 720p", store, names, "--frame", "1280x720")


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where every step passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.prove", description=__doc__)
    parser.add_argument("--bundle", type=_absolute, help="builds engines of it in fp32, fp16 and, if quantised, int8")
    parser.add_argument(
        "--frames", type=_absolute, metavar="DIR", help="made by `edged-provision sample`: verify the engines"
    )
    parser.add_argument(
        "--torch", type=_absolute, metavar="FILE.pt", help="the same weights, run eagerly in torch beside it"
    )
    parser.add_argument(
        "--out", type=_absolute, default="gpu-proof", help="folder of the results (default: %(default)s)"
    )
    parser.add_argument("--minutes", type=float, default=90.0, help="for all steps together (default: %(default)g)")
    options = parser.parse_args(arguments)
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("*.log"):
        old.unlink()

    def tell(outcomes: Sequence[Outcome]) -> None:
        sys.stdout.write("\n".join((line_of(outcomes[-1]), *table_lines(outcomes[-1]))) + "\n")
        sys.stdout.flush()
        write_summary(outcomes, out / "summary.json")

    outcomes = run_plan(
        plan(options, out / "store"), lambda step: out / log_name(step), budget=Budget(options.minutes * 60), tell=tell
    )
    return 0 if all(outcome.state == PASSED for outcome in outcomes) else 1


def _absolute(text: str) -> Path:
    """Steps run in the repository's root. Links are kept: a store's are not followed by name."""
    return Path(text).absolute()


def log_name(step: Step) -> str:
    """Of the file that holds what it printed."""
    return f"{step.name.replace(' ', '-')}.log"


if __name__ == "__main__":
    sys.exit(main())
