"""Everything that only a GPU can show, by one command: `python -m tests.gpu.prove --help`.

Each step is a process of its own with a limit, and one that fails stops none of the others; together they take no
longer than --minutes, where a machine is lent. What they printed, and a summary as JSON, are left in a folder.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edged.core.bundle import MODEL_INT8, Bundle
from provisioning.store import Store

ROOT = Path(__file__).parents[2]
KERNEL_TESTS = (
    "tests/plugins/test_decode_kernel.py",
    "tests/gpu/test_nms_kernel.py",
    "tests/gpu/test_preprocess_kernel.py",
)
BATCH = ("1", "8", "16")
NEEDED = ("pytest", "pytest_timeout")  # by every step of tests; pyproject.toml speaks of the second
SANITIZER = "compute-sanitizer"
LIMIT_S = 600.0


@dataclass(frozen=True)
class Step:
    """One process."""

    name: str
    command: Sequence[str]


@dataclass(frozen=True)
class Outcome:
    """What became of it: `passed`, `failed`, or `missing` where the machine lacks a tool or the time is over."""

    name: str
    state: str
    seconds: float
    last_line: str
    log: str


def steps(options: argparse.Namespace, store: Path) -> Iterator[Step]:
    """In order of worth: should the time run out, the first are done."""
    python = sys.executable
    yield Step("kernels", (python, "-m", "pytest", "-q", "-m", "gpu", "tests/plugins", "tests/gpu"))
    names = _fill(store, options.bundle) if options.bundle else []
    for name in names:
        build = (
            "build",
            name,
            "--precision",
            name,
            "--batch",
            *BATCH,
            "--gpus",
            "this",
            "--store",
            str(store),
            "--work",
            str(store / "work"),
        )
        frames = ("--frames", str(options.frames)) if options.frames else ()
        yield Step(f"engine {name}", (python, "-m", "provisioning", *build, *frames))
    if names:
        models = [word for name in names for word in ("--model", str(store / name))]
        torch = ("--torch", str(options.torch)) if options.torch else ()
        yield Step("bench", (python, "-m", "edged", "bench", "--gpu", *models, *torch, "--json"))
        yield Step("bench 720p", (python, "-m", "edged", "bench", "--gpu", *models, "--frame", "1280x720"))
    for tool, tests in (("memcheck", KERNEL_TESTS), ("racecheck", KERNEL_TESTS[:2])):
        pytest = (python, "-m", "pytest", "-q", "-m", "gpu", *tests)
        yield Step(tool, (SANITIZER, "--error-exitcode", "1", "--tool", tool, *pytest))


def _fill(store: Path, directory: Path) -> list[str]:
    """A store with the bundle once for each precision, named after it."""
    bundle = Bundle.open(directory)
    files: dict[str, bytes | Path] = {name: bundle.directory / name for name in bundle.manifest.files}
    names = ["fp32", "fp16", *(["int8"] if MODEL_INT8 in files else [])]
    for name in names:
        Store(store).add(dataclasses.replace(bundle.manifest, name=name, report={}), files)
    return names


def perform(step: Step, out: Path, *, limit_s: float = LIMIT_S) -> Outcome:
    """Run it; its output goes to a file in `out`."""
    log = out / f"{step.name.replace(' ', '-')}.log"
    began_s = time.monotonic()
    if limit_s <= 0:
        return Outcome(step.name, "missing", 0.0, "no time was left", "")
    if shutil.which(step.command[0]) is None:
        return Outcome(step.name, "missing", 0.0, f"{step.command[0]} is not installed", "")
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None] if "pytest" in step.command else []
    if missing:
        return Outcome(step.name, "missing", 0.0, f"{' and '.join(missing)} not installed", "")
    with log.open("wb") as file:
        process = subprocess.Popen(
            step.command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True
        )
        try:
            code: int | None = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            code = None
            os.killpg(process.pid, signal.SIGKILL)  # its own children too: they would go on with the GPU
            process.wait()
    lines = log.read_text("utf-8", errors="replace").strip().splitlines() or [""]
    last = lines[-1] if code is not None else f"no end within {limit_s:.0f} s; {lines[-1]}"
    skipped_all = "pytest" in step.command and code == 0 and " passed" not in last
    state = "passed" if code == 0 and not skipped_all else "failed"
    return Outcome(step.name, state, round(time.monotonic() - began_s, 1), last, log.name)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where every step passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.prove", description=__doc__)
    parser.add_argument("--bundle", type=Path, help="builds engines of it in fp32, fp16 and, if quantised, int8")
    parser.add_argument(
        "--frames", type=Path, metavar="DIR", help="made by `edged-provision sample`: verify the engines"
    )
    parser.add_argument(
        "--torch", type=Path, metavar="FILE.pt", help="the same weights, run eagerly in torch beside it"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("gpu-proof"), help="folder of the results (default: %(default)s)"
    )
    parser.add_argument("--minutes", type=float, default=90.0, help="for all steps together (default: %(default)g)")
    options = parser.parse_args(arguments)
    deadline_s = time.monotonic() + options.minutes * 60
    options.out.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    for step in steps(options, options.out.absolute() / "store"):
        outcomes.append(perform(step, options.out, limit_s=min(LIMIT_S, deadline_s - time.monotonic())))
        done = outcomes[-1]
        line = f"{done.state:<8} {done.name:<12} {done.seconds:>6.1f} s  {done.last_line[:150]}\n"
        sys.stdout.write(line)
        sys.stdout.flush()
        content = json.dumps([asdict(outcome) for outcome in outcomes], indent=2)
        (options.out / "summary.json").write_text(content, "utf-8")
    return 0 if all(outcome.state == "passed" for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
