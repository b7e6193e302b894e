"""Runs `provisioning.build.child`, reads its JSON lines, and turns every way in which it can end into a message."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from tqdm import tqdm

from edged.core.errors import BundleMismatch, ConfigError, DetectorError, EdgedError, NotInstalled, UsageError
from provisioning.build.causes import CAUSES, Cause, explain, tail

# Errors of the child that are no failure of TensorRT or the device: raised here again, with their exit codes.
_RAISED_AGAIN = {kind.__name__: kind for kind in (BundleMismatch, ConfigError, NotInstalled, UsageError)}


def run_child(
    command: Sequence[str], *, what: str, timeout_s: float | None = None, causes: Sequence[Cause] = CAUSES
) -> dict[str, Any]:
    """Run a child process that writes JSON lines as `provisioning.build.child` does. Returns its result.

    Args:
        command: with its arguments.
        what: name of what is working, for messages.
        timeout_s: after which it is killed; None for no limit, as builds take minutes to an hour.
        causes: to look for in its output.

    Raises:
        DetectorError: it reported an error, was killed, crashed, or ended without a result.
        BundleMismatch, ConfigError, NotInstalled, UsageError: the child raised one of these.
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
                process.kill()  # no effect if it has ended; after Ctrl-C it must not stay behind
        log = _lines(native)
    if "result" in said:
        result: dict[str, Any] = said["result"]
        return result
    raise _failure(what, process.returncode, said, log, causes)


def _listen(process: subprocess.Popen[str], timeout_s: float | None) -> dict[str, Any]:
    """Read events until the child ends. Returns the last one that is not progress; empty if there was none."""
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
            continue  # a library printed something
        if isinstance(event, dict):
            yield event


def _lines(native: IO[bytes]) -> list[str]:
    native.seek(0)
    return native.read().decode("utf-8", "replace").splitlines()


def _failure(what: str, status: int, said: Mapping[str, Any], native: list[str], causes: Sequence[Cause]) -> EdgedError:
    """The error to raise where the child gave no result, with the end of the log."""
    if kind := _RAISED_AGAIN.get(said.get("kind", "")):
        return kind(str(said["error"]))
    if "error" in said:
        log = [*native, *said["log"], str(said["error"])]
        meaning, remedy = explain(log, causes)
        shown = tail([*native, *said["log"]])
        message = f"{what} failed: {said['error']}" + (f" ({meaning})" if meaning else "")
        return DetectorError(message + (f"\n{shown}\n  " if shown else ""), remedy=remedy)
    if status == -signal.SIGKILL:
        return DetectorError(
            f"{what} was killed while it worked, most likely because this machine ran out of memory",
            remedy="stop other programs, lower workspace_mb or the largest batch, or add swap",
        )
    ending = f"crashed ({signal.Signals(-status).name})" if status < 0 else f"ended with {status} without a result"
    meaning, remedy = explain(native, causes)
    shown = tail(native)
    message = f"{what} {ending}" + (f": {meaning}" if meaning else "")
    return DetectorError(message + (f"\n{shown}\n  " if shown else ""), remedy=remedy)
