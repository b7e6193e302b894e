"""The command that proves everything on a GPU, on a machine without one: every step runs, fails and says why."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from edged.core.bundle import MODEL_INT8, Bundle
from provisioning.store import Store
from tests.gpu import prove
from tests.handmade import square_model, write_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "plain")


def test_prove_runs_every_step_and_leaves_a_summary(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx_graphsurgeon", reason="onnx-graphsurgeon is not installed")
    if Path("/dev/nvidiactl").exists():
        pytest.skip("there is a GPU here: run it for real")
    kernels = prove.Step("kernels", (sys.executable, "-m", "pytest", "-q", "-m", "gpu", prove.KERNEL_TESTS[0]))
    planned = list(prove.steps(Namespace(bundle=bundle, frames=None, torch=None), tmp_path / "store"))
    assert planned[0].name == "kernels"
    monkeypatch.setattr(prove, "steps", lambda *_: [kernels, *planned[1:3], planned[-1]])
    assert prove.main(["--bundle", str(bundle), "--out", str(tmp_path / "out")]) == 1
    found = json.loads((tmp_path / "out" / "summary.json").read_text())
    states = {each["name"]: each["state"] for each in found}
    assert states["kernels"] == "failed"  # all skipped is no proof
    assert states["engine fp32"] == states["engine fp16"] == "failed"
    reason = next(each["last_line"] for each in found if each["name"] == "engine fp32")
    assert "TensorRT" in reason or "this machine has no GPU" in reason
    assert states["racecheck"] in {"missing", "failed"}
    assert len(capsys.readouterr().out.splitlines()) == len(found) == 4


def test_prove_says_which_of_the_tests_tools_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prove, "NEEDED", ("pytest", "pytest_no_such_plugin"))
    done = prove.perform(prove.Step("kernels", (sys.executable, "-m", "pytest", "--version")), tmp_path)
    assert (done.state, done.last_line) == ("missing", "pytest_no_such_plugin not installed")


def test_prove_ends_a_step_with_its_children_when_its_time_is_over(tmp_path: Path) -> None:
    child = "import subprocess, sys; print('begun', flush=True); subprocess.run(['sleep', '987.5'])"
    done = prove.perform(prove.Step("long", (sys.executable, "-c", child)), tmp_path, limit_s=6)
    assert (done.state, done.last_line) == ("failed", "no end within 6 s; begun")
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert b"sleep\x00987.5\x00" not in running


def test_prove_names_the_steps_that_got_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prove, "steps", lambda *_: [prove.Step("late", (sys.executable, "-c", ""))])
    assert prove.main(["--out", str(tmp_path), "--minutes", "0"]) == 1
    assert "missing  late" in (out := capsys.readouterr().out) and "no time was left" in out


def test_prove_plans_an_engine_a_precision_and_one_bench_of_them(bundle: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "quantised")
    plain = Bundle.open(bundle)
    files: dict[str, bytes | Path] = {name: plain.directory / name for name in plain.manifest.files}
    made = store.add(plain.manifest, {**files, MODEL_INT8: square_model(plain.manifest.input_wh)})
    options = Namespace(bundle=made.directory, frames=Path("frames"), torch=Path("net.pt"))
    planned = {step.name: " ".join(step.command) for step in prove.steps(options, tmp_path / "store")}
    assert list(planned) == [
        "kernels", "engine fp32", "engine fp16", "engine int8", "bench", "bench 720p", "memcheck", "racecheck"
    ]  # fmt: skip
    assert "--frames frames" in planned["engine int8"]
    assert planned["bench"].count("--model") == 3 and "--torch net.pt" in planned["bench"]
