"""Steps that a GPU machine is asked for: each a process of its own with a limit, ended with all its children.

The standard library only: a step whose packages are missing is told before it starts, and stops none of the others.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Any

from tests.gpu.packages import missing

ROOT = Path(__file__).resolve().parents[2]
PASSED, FAILED, MISSING, REFUSED = "passed", "failed", "missing", "refused"
LIMIT_S = 600.0
MOST_LOG_BYTES = 4 << 20  # a step's; a machine may give back small files only
MOST_REASONS = 8
_KILLED_S = 5.0  # a process that waits for a hanging device cannot be killed; nobody waits for it longer
_POLL_S = 0.05
_TOOLS = (os.environ.get("CUDA_HOME", "/usr/local/cuda") + "/bin", "/usr/local/cuda/bin")


@dataclass(frozen=True, slots=True)
class Step:
    """One process.

    Attributes:
        name: for people.
        command: with its arguments; runs in the repository's root.
        needs: modules that `python` must find, else it does not start.
        python: interpreter that the command runs in the end.
        environment: added to ours.
        limit_s: after which it is ended.
        figures: its standard output is JSON, to be kept. An object that holds `refused` says why the device is not
            taken: a result, no failure.
    """

    name: str
    command: Sequence[str]
    needs: Sequence[str] = ()
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)
    limit_s: float = LIMIT_S
    figures: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a step.

    Attributes:
        name: the step's.
        state: `passed`, `failed`, `refused`, or `missing` where the machine lacks a tool or the time is over.
        seconds: it took.
        last_line: of what it printed, or why it did not start or was ended.
        reasons: what pytest says of tests that failed, or were all skipped.
        figures: as Step.figures; None without.
    """

    name: str
    state: str
    seconds: float
    last_line: str
    reasons: tuple[str, ...] = ()
    figures: Any = None


Plan = Generator[Step, Outcome, None]  # the next step may depend on what became of those before


class Budget:
    """The seconds that all steps have together; a signal ends them at once."""

    def __init__(self, seconds: float) -> None:
        self._end_s = time.monotonic() + seconds
        self.ended_by = ""

    @property
    def left_s(self) -> float:
        """Until the end."""
        return self._end_s - time.monotonic()

    @contextlib.contextmanager
    def ended_by_signals(self) -> Iterator[None]:
        """SIGTERM and Ctrl-C end the running step and all that come after; the summary is still told."""
        kinds = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {kind: signal.signal(kind, self._end) for kind in kinds}
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def _end(self, number: int, _frame: FrameType | None) -> None:
        self.ended_by = signal.Signals(number).name
        self._end_s = time.monotonic()


def run_plan(
    plan: Plan, log_of: Callable[[Step], Path], *, budget: Budget, tell: Callable[[Sequence[Outcome]], None]
) -> list[Outcome]:
    """Run the steps one after another.

    Args:
        plan: gives the steps and gets their outcomes.
        log_of: the file that a step's output is added to.
        budget: of all steps together.
        tell: is called with all outcomes after each.
    """
    outcomes: list[Outcome] = []
    with budget.ended_by_signals(), contextlib.suppress(StopIteration):
        step = next(plan)
        while True:
            outcomes.append(perform(step, log_of(step), budget=budget))
            tell(outcomes)
            step = plan.send(outcomes[-1])
    return outcomes


def perform(step: Step, log: Path, *, budget: Budget) -> Outcome:
    """Run one step; its output is added to a file."""
    began_s = time.monotonic()
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **step.environment}
    tool = _found(step.command[0])
    obstacle = _obstacle(step, tool, environment, budget)
    if obstacle:
        return Outcome(step.name, MISSING, 0.0, obstacle)
    with log.open("ab+") as file, tempfile.TemporaryFile() as figures:
        file.write(f"=== {step.name}: {shlex.join(step.command)}\n".encode())
        file.flush()
        start = file.tell()
        process = subprocess.Popen(
            (tool, *step.command[1:]),
            stdin=subprocess.DEVNULL,
            stdout=figures if step.figures else file,
            stderr=file if step.figures else subprocess.STDOUT,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )
        limit_s = min(step.limit_s, budget.left_s)
        code = _awaited(process, limit_s, budget)
        said = _shortened(file, start)
        told = _content(figures)
        file.write(told + (b"" if told.endswith(b"\n") or not told else b"\n"))
    seconds = round(time.monotonic() - began_s, 1)
    lines = said.strip().splitlines() or [""]
    if code is None:
        why = f"ended by {budget.ended_by}" if budget.ended_by else f"no end within {limit_s:.0f} s"
        return Outcome(step.name, FAILED, seconds, f"{why}; {lines[-1]}", _reasons(lines, "FAILED", "ERROR"))
    return _judged(step, code, lines, told, seconds)


def _found(program: str) -> str:
    """A program's path, also of one of CUDA's tools that are not on the PATH; empty where there is none."""
    return next((at for path in (None, *_TOOLS) if (at := shutil.which(program, path=path))), "")


def _obstacle(step: Step, tool: str, environment: Mapping[str, str], budget: Budget) -> str:
    """Why it cannot start; empty where it can."""
    if budget.ended_by:
        return f"not run: ended by {budget.ended_by}"
    if budget.left_s <= 0:
        return "no time was left"
    if not tool:
        return f"{step.command[0]} is not installed"
    try:
        absent = missing(step.python, step.needs, environment)
    except (OSError, subprocess.CalledProcessError) as exc:
        return f"{step.python} cannot be run: {exc}"
    return f"{', '.join(absent)} not installed for {step.python}" if absent else ""


def _awaited(process: subprocess.Popen[bytes], limit_s: float, budget: Budget) -> int | None:
    """The exit code; None where it was ended, with its own children, which would go on with the GPU."""
    end_s = time.monotonic() + limit_s
    try:
        while time.monotonic() < end_s and not budget.ended_by:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(_POLL_S)
        return None
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_KILLED_S)


def _shortened(file: IO[bytes], start: int) -> str:
    """What a step wrote; the file keeps the end of it where that is long."""
    file.seek(start)
    said = file.read()
    if len(said) > MOST_LOG_BYTES:
        file.truncate(start)
        said = said[-MOST_LOG_BYTES:]
        file.write(b"[the beginning is left out]\n" + said)
    return said.decode(errors="replace")


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _judged(step: Step, code: int, lines: Sequence[str], told: bytes, seconds: float) -> Outcome:
    figures, last = None, lines[-1]
    if step.figures:
        try:
            figures = json.loads(told)
        except ValueError:
            code, last = code or 1, last or f"ended with {code} and without figures"
    if code == 0 and isinstance(figures, dict) and figures.get("refused"):
        return Outcome(step.name, REFUSED, seconds, str(figures["refused"]), (), figures)
    passes = code == 0
    noted: tuple[str, ...] = ("FAILED", "ERROR")
    if passes and "pytest" in step.command:
        last = _pytest_summary(lines)
        passes = " passed" in last  # all skipped is no proof
        noted = noted if passes else ("SKIPPED",)
    return Outcome(step.name, PASSED if passes else FAILED, seconds, last, _reasons(lines, *noted), figures)


def _pytest_summary(lines: Sequence[str]) -> str:
    """Its last line, which a tool around it may follow with lines of its own; empty where it told none."""
    return next((line for line in reversed(lines) if re.search(r"\d+ \w+.* in \d+\.\d+s", line)), "")


def _reasons(lines: Sequence[str], *kinds: str) -> tuple[str, ...]:
    """What pytest says of these kinds of tests; a reason that many were skipped for, once."""
    told = {line.split(": ", 1)[-1]: line[:200] for line in reversed(lines) if line.split(" ", 1)[0] in kinds}
    return tuple(reversed(told.values()))[:MOST_REASONS]
