"""A small bundle and the frames that engines of it are held against, made by edged-provision from named weights."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

from tests.gpu.short_run.transfer import TransferError
from tests.gpu.steps import ROOT

NAME = "carried"


def make(
    weights: Path, frames: Path, work: Path, *, size: str, calibration: int, verification: int
) -> tuple[Path, Path]:
    """Import, sample, quantise; the bundle's folder and that of the frames.

    Args:
        weights: as `edged-provision import` takes them.
        frames: a folder that `edged-provision sample` made, or pictures or a video to sample.
        work: for what is made.
        size: of the network's input, e.g. `640` or `640x384`.
        calibration: frames to calibrate on; they stay here.
        verification: frames to carry.

    Raises:
        TransferError: a step failed; what it said stands above.
    """
    store, sampled = work / "store", work / "sampled"
    _provision("import", str(weights), "--name", NAME, "--size", size, "--store", str(store))
    if (frames / "frames.json").is_file():
        sampled = frames
    else:
        counts = ("--count", str(calibration), "--verification", str(verification))
        _provision("sample", str(frames), "--out", str(sampled), *counts)
    _provision("quantize", NAME, "--frames", str(sampled), "--store", str(store))
    bundle = work / "bundle"
    shutil.copytree((store / NAME).resolve(), bundle)
    return bundle, kept_apart(sampled, work / "frames", most=verification)


def kept_apart(sampled: Path, folder: Path, *, most: int) -> Path:
    """A set of the frames for verification alone: an engine is held against no others."""
    from provisioning.frames.frameset import FrameSet

    whole = FrameSet.read(sampled)
    chosen = whole.of("verification")[:most]
    if not chosen:
        raise TransferError(f"{sampled} holds no frames for verification; sample again, with --verification")
    folder.mkdir()
    for frame in chosen:
        shutil.copyfile(sampled / frame.file, folder / frame.file)
    dataclasses.replace(whole, folder=folder, frames=chosen).write_list()
    return folder


def _provision(*arguments: str) -> None:
    done = subprocess.run((sys.executable, "-m", "provisioning", *arguments), cwd=ROOT, check=False)
    if done.returncode:
        raise TransferError(f"edged-provision {arguments[0]} ended with {done.returncode}")
