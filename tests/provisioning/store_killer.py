"""Run as a program: adds and activates a bundle, and dies or finds the disk full at every step in turn.

Usage: store_killer.py ROOT kill|full. Writes one line a step: the step's number and how it ended.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from edged.core.decode import GridDecode
from edged.core.manifest import Manifest
from provisioning.store import Store

STEPS = ("open", "fsync", "fchmod", "mkdir", "rename", "replace", "symlink", "unlink", "chmod", "rmdir", "write")
FINISHED, SURVIVED = 7, 8  # no such step any more; finished although the step failed


def manifest(name: str) -> Manifest:
    return Manifest(
        name=name,
        architecture="yolov5n",
        classes=("a",),
        decode=GridDecode((((1.0, 2.0),),), (32,)),
        input_wh=(64, 64),
        licence="none",
        files={},
    )


def _trap(step: int, act: Callable[[], None]) -> Callable[[], bool]:
    """Replace every call that changes the disk: the one of number `step` acts first. Tells whether it was reached."""
    count = 0

    def trapped(function: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            nonlocal count
            count += 1
            if count == step:
                act()
            return function(*args, **kwargs)

        return call

    for name in STEPS:
        setattr(os, name, trapped(getattr(os, name)))
    return lambda: count >= step


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _child(root: Path, step: int, act: Callable[[], None]) -> None:
    store = Store(root)
    reached = _trap(step, act)
    store.add(manifest("yard"), {"model.onnx": b"new" * 1000, "extra": b"x"})
    store.activate("yard")
    os._exit(SURVIVED if reached() else FINISHED)


def main(root: Path, mode: str) -> None:
    act = {"kill": _die, "full": _full}[mode]
    Store(root / "0").add(manifest("yard"), {"model.onnx": b"old"})
    Store(root / "0").add(manifest("street"), {"model.onnx": b"first"})
    Store(root / "0").activate("street")
    Store(root / "0").activate("yard")
    for step in range(1, 500):
        shutil.copytree(root / "0", root / str(step), symlinks=True)
        pid = os.fork()
        if pid == 0:
            try:
                _child(root / str(step), step, act)
            except Exception as exc:  # noqa: BLE001 (reported to the test)
                sys.stdout.write(f"{step} {type(exc).__name__}: {exc}\n")
                sys.stdout.flush()
                os._exit(1)
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        sys.stdout.write(f"{step} exit {code}\n")
        sys.stdout.flush()
        if code == FINISHED:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
