"""Nothing about a device leaves it but what it publishes: ONNX Runtime's reports to its maker are off."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest

ROOT = Path(__file__).parents[1]
LOAD = "import onnxruntime; onnxruntime.InferenceSession('edged/demo/person/model.onnx')"


def left_behind(cache: Path, *command: str) -> list[str]:
    """What a command leaves in the user's cache: the identifier and the queue of what is to be sent."""
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "ORT_DISABLE_TELEMETRY"}}
    environment["XDG_CACHE_HOME"] = str(cache)
    subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, check=True, capture_output=True)
    return [path.name for path in cache.rglob("*onnxruntime*")]


@pytest.mark.skipif(
    tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 29), reason="this ONNX Runtime reports nothing"
)
def test_onnx_runtime_reports_where_it_is_left_alone(tmp_path: Path) -> None:
    """Holds the other tests up: they would find nothing either if reports were kept elsewhere."""
    assert left_behind(tmp_path, "-c", LOAD)


@pytest.mark.parametrize("package", ["edged.cpu.session", "edged.bench.plain", "provisioning.quantize.calibration"])
def test_every_part_that_loads_models_turns_reports_off(tmp_path: Path, package: str) -> None:
    assert not left_behind(tmp_path, "-c", f"import {package}; {LOAD}")


def test_detect_keeps_no_identifier_for_reports(tmp_path: Path) -> None:
    command = ["detect", "test:", "--model", "edged/demo/person", "--frames", "2", "--out", str(tmp_path / "out")]
    assert not left_behind(tmp_path / "cache", "-m", "edged", *command)
