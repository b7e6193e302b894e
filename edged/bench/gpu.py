"""`edged bench --gpu`: every measurement in a process of its own, one after another, then the table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edged.core.bundle import Bundle
from edged.gpu.bench.child import ChildRequest

LEAST_SHARE, SHARE_BATCH = 0.95, 8  # of the engine's rate, for the whole detector
SHARE_WH = (1280, 720)  # frames of this size: larger ones may take longer to upload than the engine takes to run
MOST_AROUND_US = 100.0  # preprocessing, decode and NMS of a 1080p frame
PEER = "provisioning.peer"  # run as a process, where it is installed: nothing here imports it or torch
_CHILD = "edged.gpu.bench.child"
_DEADLINE_S = 600.0


@dataclass(frozen=True, slots=True)
class GpuBenchRequest:
    """What to measure.

    Attributes:
        models: bundles with an engine for this machine; several for several precisions.
        device: as `[engine] device`.
        batches: sizes to measure; those above the engine's largest are left out.
        frame_wh: of the frames, pixels.
        repeats: batches per measurement.
        torch: weights to run eagerly in torch for comparison; None for none.
    """

    models: tuple[Path, ...]
    device: str
    batches: tuple[int, ...]
    frame_wh: tuple[int, int]
    repeats: int
    torch: Path | None


@dataclass(frozen=True, slots=True)
class Part:
    """The outcome of one process.

    Attributes:
        name: what was measured.
        values: what it printed; empty where it failed.
        failure: its error message; empty where it succeeded.
        exit_code: of the process.
    """

    name: str
    values: Mapping[str, Any]
    failure: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class ModelParts:
    """One bundle: figures with lazy loading, memory without, and torch's figures."""

    model: Path
    lazy: Part
    eager: Part
    peer: Part | None


def run_gpu_bench(request: GpuBenchRequest, *, as_json: bool) -> int:
    """Measure and print; returns 0, or the exit code of the first bundle that could not be measured.

    Raises:
        BundleMismatch, DataError: a bundle cannot be opened.
    """
    sides = [max(Bundle.open(model).manifest.input_wh) for model in request.models]  # before anything starts
    measured = [_model_parts(request, model, side) for model, side in zip(request.models, sides, strict=True)]
    if as_json:
        content = {
            "schema": "edged.bench-gpu/1",
            "frame": list(request.frame_wh),
            "models": [{**asdict(each), "model": str(each.model)} for each in measured],
        }
        sys.stdout.write(json.dumps(content, indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(line for each in measured for line in as_lines(each, request.frame_wh)) + "\n")
    return next((each.lazy.exit_code for each in measured if each.lazy.exit_code), 0)


def _model_parts(request: GpuBenchRequest, model: Path, side: int) -> ModelParts:
    lazy = _detector(request, model, lazy=True)
    eager = _detector(request, model, lazy=False)
    return ModelParts(model, lazy, eager, _peer(request, side) if request.torch is not None else None)


def _detector(request: GpuBenchRequest, model: Path, *, lazy: bool) -> Part:
    loading = "LAZY" if lazy else "EAGER"
    asked = ChildRequest(
        bundle=str(model.absolute()),
        device=request.device,
        batches=request.batches if lazy else (),
        frame_wh=request.frame_wh,
        repeats=request.repeats,
        lazy=lazy,
    )
    command = [sys.executable, "-m", _CHILD, json.dumps(asdict(asked))]
    return run_part(f"{model.name}, {loading.lower()} loading", command, CUDA_MODULE_LOADING=loading)


def _peer(request: GpuBenchRequest, side: int) -> Part:
    width, height = request.frame_wh
    options = {
        "--weights": str(request.torch),
        "--size": str(side),
        "--frame": f"{width}x{height}",
        "--batches": ",".join(map(str, request.batches)),
        "--repeats": str(request.repeats),
    }
    return run_part("torch, eager", [sys.executable, "-m", PEER, *(word for pair in options.items() for word in pair)])


def run_part(name: str, command: Sequence[str], **environment: str) -> Part:
    """Run one process that prints JSON in its last line; a failure is returned as part, not raised."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
            check=False,
            env={**os.environ, **environment},
        )
    except subprocess.TimeoutExpired:
        return Part(name, {}, f"no end within {_DEADLINE_S:.0f} s", 70)
    if done.returncode == 0:
        return Part(name, json.loads(done.stdout.splitlines()[-1]), "", 0)
    said = done.stderr.strip().splitlines() or ["without a word"]
    code = done.returncode if done.returncode > 0 else 70
    return Part(name, {}, said[-1], code)


def as_lines(parts: ModelParts, frame_wh: tuple[int, int]) -> Iterator[str]:
    """The printed lines for one bundle."""
    if parts.lazy.failure:
        yield f"{parts.model.name}: not measured: {parts.lazy.failure}"
        return
    figures = parts.lazy.values["figures"]
    yield f"{parts.model.name}: {parts.lazy.values['backend']}, frames of {frame_wh[0]}x{frame_wh[1]}"
    yield f"{'batch':>5} {'engine/s':>9} {'detector/s':>10} {'share':>6} {'outside':>8}   microseconds a batch"
    for one in figures:
        plain = one["plain_stages"]
        stages = ", ".join(f"{stage}{'*' * (stage in plain)} {us:.0f}" for stage, us in one["stage_us"].items())
        yield (
            f"{one['batch']:>5} {one['engine_fps']:>9.0f} {one['detector_fps']:>10.0f} {one['share']:>6.3f} "
            f"{one['outside_engine']:>8.1%}   {stages}; upload {one['upload_us']:.0f} ({one['upload_gb_s']:.1f} GB/s)"
        )
    if any(one["plain_stages"] for one in figures):
        yield "* by plain launches, Python's time among it: no CUDA graph could be made of it"
    yield f"device memory: {_memory(parts.lazy)} with lazy loading, {_memory(parts.eager)} without"
    if parts.peer is not None:
        yield from _peer_lines(parts.peer)
    yield from _verdicts(figures, frame_wh)
    yield ""


def _memory(part: Part) -> str:
    if part.failure:
        return f"not measured ({part.failure})"
    memory = part.values["memory_mb"]
    return "unknown (NVML does not tell)" if memory is None else f"{memory:.0f} MB"


def _peer_lines(peer: Part) -> Iterator[str]:
    if peer.failure:
        yield f"{peer.name}: not measured: {peer.failure}"
        return
    for one in peer.values["figures"]:
        yield (
            f"{peer.name}, {one['precision']}, batch {one['batch']}: model {one['model_fps']:.0f} frames/s, "
            f"whole {one['whole_fps']:.0f}"
        )


def _verdicts(figures: Sequence[Mapping[str, Any]], frame_wh: tuple[int, int]) -> Iterator[str]:
    for one in figures:
        if one["batch"] == SHARE_BATCH:
            yield f"detector / engine at batch {SHARE_BATCH}: {one['share']:.3f}, {_share_verdict(one, frame_wh)}"
    if figures and frame_wh == (1920, 1080):
        best = min(one["frame_us"] for one in figures)
        holds = "holds" if best <= MOST_AROUND_US else "DOES NOT HOLD"
        yield f"preprocess + decode + NMS: {best:.0f} us a frame at best, at most {MOST_AROUND_US:.0f}: {holds}"


def _share_verdict(one: Mapping[str, Any], frame_wh: tuple[int, int]) -> str:
    if frame_wh[0] * frame_wh[1] > SHARE_WH[0] * SHARE_WH[1]:
        engine_us = one["batch"] / one["engine_fps"] * 1e6
        megabytes = one["batch"] * frame_wh[0] * frame_wh[1] * 3 / 1e6
        return (
            f"at least {LEAST_SHARE} is the aim at {SHARE_WH[0]}x{SHARE_WH[1]} only: here the upload alone takes "
            f"{one['upload_us']:.0f} us for {megabytes:.0f} MB, the engine {engine_us:.0f}"
        )
    return f"at least {LEAST_SHARE}: {'holds' if one['share'] >= LEAST_SHARE else 'DOES NOT HOLD'}"
