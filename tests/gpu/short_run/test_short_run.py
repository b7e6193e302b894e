"""The short run on a machine without a GPU: every step ends in time, says why, and leaves its figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from provisioning.frames.sample import sample
from tests.gpu import tasks
from tests.gpu.planning import planned
from tests.gpu.short_run import common, step_1, step_2, step_3, step_4
from tests.gpu.short_run.archive import pack
from tests.gpu.short_run.common import Carried
from tests.gpu.short_run.tools import require_tools
from tests.gpu.short_run.transfer import CONTENT_BYTES, lay
from tests.gpu.steps import ROOT, Plan, Step
from tests.handmade import draw_square, write_bundle

STEPS = {"1": step_1, "2": step_2, "3": step_3, "4": step_4}
SANITIZER = """\
#!/bin/sh
while [ "$1" != --tool ]; do shift; done
shift 2
"$@"; code=$?
echo ERRORS: 0
exit $code
"""


@pytest.fixture
def no_gpu() -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("there is a GPU here: run it for real")


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """What `make gpu-files` lays, in small: packages that hold a mark, a hand-made bundle, its frames, a Python."""
    require_tools()
    made = tmp_path / "made"
    for name in ("site", "rtx", "tensorrt"):
        (made / name).mkdir(parents=True)
        (made / name / f"carried_{name}.py").touch()
    write_bundle(made / "bundle")
    _sample(tmp_path / "pictures", made / "frames")
    run = made / "tensorrt" / "run"
    run.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    run.chmod(0o755)
    groups = [["site", "rtx", "bundle", "frames"], ["tensorrt"]]
    packed = [[pack(made / name, tmp_path / f"{name}.tar.xz") for name in group] for group in groups]
    laid = lay(packed, tmp_path / "gpu-files", folder_bytes=CONTENT_BYTES + (1 << 20))
    assert len(laid) == 2
    return [str(folder) for folder in laid]


def _sample(pictures: Path, frames: Path) -> None:
    pictures.mkdir()
    for number in range(4):
        image = np.full((320, 320, 3), 40 * number, np.uint8)
        draw_square(image, "red", 24 + 48 * number, 56)
        cv2.imwrite(str(pictures / f"{number}.png"), image)
    sample([str(pictures)], frames, count=2, verification=2)


def outcomes(out: Path, number: str) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in json.loads((out / f"step-{number}.json").read_text())}


def run(number: str, tmp_path: Path, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    out, work = tmp_path / "out", tmp_path / "work"
    code = STEPS[number].main([*arguments, "--out", str(out), "--work", str(work)])
    assert len(list(out.iterdir())) <= 8  # what may come back
    return code, outcomes(out, number)


@pytest.mark.usefixtures("no_gpu")
def test_step_1_without_a_gpu(
    folders: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tasks, "ALL_TESTS", tasks.KERNEL_TESTS[:1])
    code, found = run("1", tmp_path, folders[0])
    assert code == 1 and list(found) == ["files", "machine", "kernels", "detector"]
    assert found["files"]["state"] == found["machine"]["state"] == "passed"
    assert found["kernels"]["state"] == "failed" and "no GPU" in " ".join(found["kernels"]["reasons"])
    assert found["detector"]["state"] == "failed" and found["detector"]["figures"]["detectors"][0]["failure"]
    assert (tmp_path / "work/site/carried_site.py").is_file() and not (tmp_path / "work/rtx").exists()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 160
    assert lines[-1].startswith("step 1: 2 failed, 2 passed in ")


@pytest.mark.usefixtures("no_gpu")
def test_step_2_without_a_gpu(folders: list[str], tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    pytest.importorskip("onnx_graphsurgeon", reason="onnx-graphsurgeon is not installed")
    code, found = run("2", tmp_path, folders[0])
    assert code == 1
    assert found["files"]["state"] == found["bundle"]["state"] == "passed"
    assert found["engine fp16"]["last_line"] == "this machine has no GPU that NVML knows"
    assert all(found[name]["state"] == "failed" for name in ("engine fp32", "bench fp16", "bench fp32", "engine tests"))
    assert (tmp_path / "work/rtx/carried_rtx.py").is_file()


@pytest.mark.usefixtures("no_gpu")
def test_step_3_without_a_gpu(
    folders: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a tool in compute-sanitizer's place that runs what it is given and has the last word."""
    tool = tmp_path / "bin" / tasks.SANITIZER
    tool.parent.mkdir()
    tool.write_text(SANITIZER)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    code, found = run("3", tmp_path, folders[0])
    assert code == 1 and list(found) == ["files", "memcheck", "racecheck"]
    for name in ("memcheck", "racecheck"):
        assert found[name]["state"] == "failed" and "no GPU" in " ".join(found[name]["reasons"])
        assert "skipped" in found[name]["last_line"]
    assert "step 3: 2 failed, 1 passed" in capsys.readouterr().out


@pytest.mark.usefixtures("no_gpu")
def test_step_4_without_a_gpu(folders: list[str], tmp_path: Path) -> None:
    """The packed Python is this one here, which has no TensorRT that works without a GPU."""
    pytest.importorskip("onnx_graphsurgeon", reason="onnx-graphsurgeon is not installed")
    code, found = run("4", tmp_path, *folders)
    assert code == 1
    assert found["machine"]["figures"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["bundle"]["figures"] == ["fp16"]  # the hand-made one is not quantised
    reason = found["engine fp16"]["last_line"]
    assert "TensorRT" in reason or "no GPU" in reason
    assert found["bench fp16"]["state"] == found["engine tests"]["state"] == "failed"


def test_step_whose_files_have_not_come_says_so_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "ALL_TESTS", ("tests/gpu/test_check.py",))
    monkeypatch.setenv("OUT", str(tmp_path / "named by OUT"))
    assert step_1.main(["--work", str(tmp_path / "work"), "--seconds", "20"]) == 1
    found = outcomes(tmp_path / "named by OUT", "1")
    assert "site has not come" in found["files"]["last_line"] and found["machine"]["state"] == "passed"


def test_step_ends_in_time_and_still_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def hangs(_: Carried) -> Plan:
        yield Step("hangs", ("sleep", "600"))
        yield Step("late", ("true",))

    began_s = time.monotonic()
    arguments = ["--out", str(tmp_path), "--work", str(tmp_path)]
    assert common.run_step(9, hangs, arguments, seconds=common._MARGIN_S + 1, about="") == 1
    assert time.monotonic() - began_s < 60
    found = outcomes(tmp_path, "9")
    assert found["hangs"]["state"] == "failed" and found["late"]["last_line"] == "no time was left"
    assert "step 9: 1 failed, 1 missing in " in capsys.readouterr().out


def test_step_2_ends_where_the_device_is_refused(tmp_path: Path) -> None:
    carried = Carried((), tmp_path)
    assert list(planned(step_2.plan(carried), states={"engine fp16": "refused"})) == [
        "files", "machine", "bundle", "engine fp16"
    ]  # fmt: skip
    assert list(planned(step_2.plan(carried)))[3:] == [
        "engine fp16", "bench fp16", "engine fp32", "bench fp32", "engine tests"
    ]  # fmt: skip

    def refused(_: Carried) -> Plan:
        code = "import json; print(json.dumps({'refused': 'SM 9.0'}))"
        yield Step("engine", (sys.executable, "-c", code), figures=True)

    assert common.run_step(2, refused, ["--out", str(tmp_path)], seconds=60, about="") == 0


def test_steps_hand_what_was_carried_to_their_processes(tmp_path: Path) -> None:
    steps = planned(step_2.plan(Carried((Path("/carried/2"),), tmp_path)))
    assert list(steps["files"].command[3:]) == [
        "/carried/2", "--work", str(tmp_path), "--unpack", "site", "rtx", "bundle", "frames"
    ]  # fmt: skip
    for name in ("engine fp16", "bench fp16", "engine tests"):
        environment = steps[name].environment
        assert environment["PYTHONPATH"].split(":")[:2] == [str(tmp_path / "rtx"), str(tmp_path / "site")]
        assert environment["LD_LIBRARY_PATH"].startswith(str(tmp_path / "rtx/tensorrt_rtx_libs"))
        assert environment["CACHE_DIRECTORY"] == str(tmp_path / "cache")
    for name, step in planned(step_4.plan(Carried((), tmp_path))).items():
        assert name == "files" or step.command[0] == step.python == str(tmp_path / "tensorrt/run")


@pytest.mark.parametrize("path", tasks.KERNEL_TESTS)
def test_step_3_takes_tests_of_every_kernel(path: str) -> None:
    command = (sys.executable, "-m", "pytest", "-q", "-m", "gpu", "--collect-only", "-k", step_3.ONLY, path)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.count("[gpu") >= 5, done.stdout


@pytest.mark.parametrize("number", STEPS)
def test_steps_start_on_a_python_without_any_package(number: str) -> None:
    command = (sys.executable, "-S", "-m", f"tests.gpu.short_run.step_{number}", "--help")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "--seconds" in done.stdout, done.stderr
