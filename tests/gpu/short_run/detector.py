"""The whole detector on a real GPU, an engine of constant heads in TensorRT's place: right, and how fast.

`python -m tests.gpu.short_run.detector` prints figures as JSON. It proves what needs no TensorRT: kernels, graphs,
streams, pinned memory, the daemon's own detector class.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from edged.core.errors import EdgedError
from edged.core.types import Frame
from edged.gpu.bench.measure import measure
from edged.gpu.cuda import Cuda
from tests.gpu.short_run.checks import CHECKS, FULL, Bench, Scale
from tests.gpu.short_run.frames import filled_area, frames_of


def examine(scale: Scale, open_device: Callable[[], Cuda], *, dtype: str, timed: bool) -> dict[str, Any]:
    """Open the detector, run every check, time it.

    Args:
        scale: how much.
        open_device: gives a device with the kernels loaded.
        dtype: of the engine's input and heads.
        timed: also the times.

    Returns:
        `checks` by name: empty where it holds, else the problem; and `times`, where the engine's stage copies heads.

    Raises:
        EdgedError: the detector cannot be opened, or the device fails.
    """
    began_s = time.monotonic()
    gpu = open_device()
    bench = Bench(gpu, scale, dtype)
    detector = bench.detector
    figures: dict[str, Any] = {"device": gpu.name, "dtype": dtype, "opened_s": round(time.monotonic() - began_s, 2)}
    # One area a size of picture, as a camera has; one pinned here, one by another thread, as the daemon does.
    areas = [filled_area(number, scale.max_batch, size) for number, size in enumerate(scale.sizes_wh)]
    pinned = [detector.pin(areas[0].address, areas[0].length)]
    thread = threading.Thread(target=lambda: pinned.append(detector.pin(areas[1].address, areas[1].length)))
    thread.start()
    thread.join()
    first, second = (frames_of(area, size) for area, size in zip(areas, scale.sizes_wh, strict=True))
    mixed = [pair[index % 2] for index, pair in enumerate(zip(first, second, strict=True))]
    checks = {"pinned": "" if pinned == [True, True] else f"memory of cameras pinned: {pinned}"}
    for check in CHECKS:
        checks[check.__name__.removeprefix("check_")] = _problem(check, bench, mixed)
    figures["checks"] = checks
    if timed:
        figures["times"] = [
            {"frame": f"{size[0]}x{size[1]}", **asdict(measure(detector, batch, size_wh=size, repeats=scale.repeats))}
            for size in scale.sizes_wh
            for batch in scale.timed
        ]
    for area in areas:
        detector.unpin(area.address)
    detector.close()
    return figures


def _problem(check: Callable[[Bench, Sequence[Frame]], None], bench: Bench, frames: Sequence[Frame]) -> str:
    """Why it does not hold; empty where it does. Errors of the device end everything."""
    try:
        check(bench, frames)
    except AssertionError as exc:
        return " ".join(str(exc).split())[:400] or check.__name__
    return ""


def lines(figures: dict[str, Any]) -> list[str]:
    """For a person."""
    if "failure" in figures:
        return [f"{figures['dtype']}: {figures['failure']}"]
    failed = [f"{name}: {problem}" for name, problem in figures["checks"].items() if problem]
    held = ", ".join(name for name, problem in figures["checks"].items() if not problem)
    said = [f"{figures['device']}, {figures['dtype']}, opened in {figures['opened_s']} s; holds: {held}"]
    said += [f"DOES NOT HOLD: {problem}" for problem in failed]
    for one in figures.get("times", ()):
        stages = ", ".join(f"{stage} {us:.0f}" for stage, us in one["stage_us"].items())
        said.append(
            f"{one['frame']}, batch {one['batch']:>2}: {one['detector_fps']:.0f} frames/s; us a batch: {stages}, "
            f"upload {one['upload_us']:.0f} ({one['upload_gb_s']:.1f} GB/s); around {one['frame_us']:.1f} us a frame"
        )
    return said


def problems(figures: dict[str, Any]) -> list[str]:
    """What does not hold."""
    if "failure" in figures:
        return [figures["failure"]]
    return [f"{figures['dtype']}: {name}: {problem}" for name, problem in figures["checks"].items() if problem]


def main() -> int:
    """Print figures; 1 where something does not hold."""
    from edged.gpu.device import open_gpu

    whole: list[dict[str, Any]] = []
    for dtype in ("float32", "float16"):
        try:
            whole.append(examine(FULL, open_gpu, dtype=dtype, timed=dtype == "float32"))
        except EdgedError as exc:
            whole.append({"dtype": dtype, "failure": str(exc)})
            break  # the device is not to be had, or lost
    sys.stdout.write(json.dumps({"detectors": whole, "lines": [line for each in whole for line in lines(each)]}) + "\n")
    found = [problem for each in whole for problem in problems(each)]
    sys.stderr.write("".join(f"{problem}\n" for problem in found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
