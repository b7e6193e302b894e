"""The detector's examination on the stub driver: every check and every time is gone through, and a fault is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.gpu.driver_process import libcuda, run_python

EXAMINE = """
import json, sys
from tests.gpu.stub_driver import Stub, started
stub = Stub(sys.argv[1])
from tests.gpu.short_run import checks, detector
exec(sys.argv[3])
figures = detector.examine(checks.SMALL, started, dtype=sys.argv[2], timed=not sys.argv[3])
figures["lines"] = detector.lines(figures)
figures["left"] = [stub.live, stub.retained]
print(json.dumps(figures))
"""


def examined(dtype: str = "float32", before: str = "") -> dict[str, Any]:
    done = run_python("-c", EXAMINE, str(libcuda()), dtype, before)
    assert done.returncode == 0, done.stdout + done.stderr
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_detector_holds_on_the_stub_driver(dtype: str) -> None:
    figures = examined(dtype)
    assert figures["checks"] == dict.fromkeys(
        ["pinned", "graphs", "results", "two_under_way", "input", "pinning_elsewhere"], ""
    )
    assert [(one["frame"], one["batch"]) for one in figures["times"]] == [
        ("96x54", 1), ("96x54", 3), ("64x36", 1), ("64x36", 3)
    ]  # fmt: skip
    # The stub's events are always 1.5 ms apart; a graph holds twenty of each stage.
    assert figures["times"][0]["stage_us"] == dict.fromkeys(["preprocess", "inference", "decode", "nms"], 75.0)
    assert all(one["detector_fps"] > 0 and not one["plain_stages"] for one in figures["times"])
    assert len(figures["lines"]) == 5
    assert figures["left"] == [0, 0]


FAULTS = {
    "results": "checks.Bench.wanted = lambda self, _, wh, right=checks.Bench.wanted: right(self, 0, wh)",
    "graphs": """
from edged.gpu.detector import GpuDetector
right = GpuDetector._captured
GpuDetector._captured = lambda self, batch: right(self, batch) if batch > 1 else None
""",
    "input": "checks.letterboxed = lambda pixels, wh, right=checks.letterboxed: right(pixels, wh) // 2",
    "pinning_elsewhere": """
from edged.gpu.detector import GpuDetector
right = GpuDetector.pin
GpuDetector.pin = lambda self, address, nbytes: nbytes != 2 << 20 and right(self, address, nbytes)
""",
}


@pytest.mark.parametrize("check", FAULTS)
def test_detector_says_what_does_not_hold(check: str) -> None:
    figures = examined(before=FAULTS[check])
    assert figures["checks"][check]
    assert any(line.startswith(f"DOES NOT HOLD: {check}: ") for line in figures["lines"])


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a GPU here")
def test_detector_without_a_gpu_says_so() -> None:
    done = run_python("-m", "tests.gpu.short_run.detector")
    assert done.returncode != 0
    assert "libcuda" in done.stderr.splitlines()[-1] or "GPU" in done.stderr.splitlines()[-1]
