"""The command that proves everything on a GPU, on a machine without one: every step runs, fails and says why."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import pytest

from edged.core.bundle import MODEL_INT8, Bundle
from edged.gpu.tensorrt import TENSORRT, TensorRt
from provisioning.build.tensorrt_build import profile_batches
from provisioning.store import Store
from tests.gpu import prove, tasks, test_on_gpu
from tests.gpu.fill import fill
from tests.gpu.planning import planned
from tests.gpu.prove import plan as prove_plan
from tests.gpu.short_run import step_4
from tests.handmade import square_model, write_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "plain")


def options(**given: Path) -> Namespace:
    return Namespace(**{"bundle": None, "frames": None, "torch": None, **given})


def test_prove_runs_every_step_and_leaves_a_summary(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx_graphsurgeon", reason="onnx-graphsurgeon is not installed")
    if Path("/dev/nvidiactl").exists():
        pytest.skip("there is a GPU here: run it for real")
    monkeypatch.setattr(tasks, "ALL_TESTS", tasks.KERNEL_TESTS[:1])
    assert prove.main(["--bundle", str(bundle), "--out", str(tmp_path / "out")]) == 1
    found = {each["name"]: each for each in json.loads((tmp_path / "out" / "summary.json").read_text())}
    states = {name: each["state"] for name, each in found.items()}
    assert states["kernels"] == "failed"  # all skipped is no proof
    assert any("no GPU" in reason for reason in found["kernels"]["reasons"])
    assert found["bundle"]["figures"] == ["fp32", "fp16"]
    assert states["engine fp32"] == states["engine fp16"] == states["bench"] == "failed"
    reason = found["engine fp32"]["last_line"]
    assert "TensorRT" in reason or "this machine has no GPU" in reason
    assert states["racecheck"] in {"missing", "failed"}
    out = capsys.readouterr().out
    assert all(f"{state:<8} {name}" in out for name, state in states.items())
    assert "no engine at all; run: edged-provision build" in out
    assert (tmp_path / "out" / "engine-fp32.log").is_file()


def test_prove_names_the_steps_that_got_no_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prove.main(["--out", str(tmp_path), "--minutes", "0"]) == 1
    assert "missing  kernels" in (out := capsys.readouterr().out) and "no time was left" in out


def test_prove_says_what_is_missing_for_each_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on a bare machine, where it once ended in a traceback or in no test at all."""
    step = tasks.gpu_tests(tasks.Runner(), "kernels", ("tests/gpu",), needs=("numpy", "no_such_module"))
    monkeypatch.setattr(prove, "plan", lambda *_: (each for each in [step]))
    assert prove.main(["--out", str(tmp_path)]) == 1
    assert f"no_such_module not installed for {sys.executable}" in capsys.readouterr().out
    assert all(
        step.needs or step.command[2] == "tests.gpu.facts"
        for step in planned(prove_plan(options(bundle=tmp_path), tmp_path), {"bundle": ["fp16"]}).values()
    )


def test_prove_plans_an_engine_a_precision_and_one_bench_of_them(tmp_path: Path) -> None:
    given = options(bundle=tmp_path, frames=Path("frames"), torch=Path("net.pt"))
    steps = planned(prove.plan(given, tmp_path / "store"), {"bundle": ["fp32", "fp16", "int8"]})
    assert list(steps) == [
        "machine", "kernels", "bundle", "engine fp32", "engine fp16", "engine int8", "bench", "bench 720p",
        "memcheck", "racecheck",
    ]  # fmt: skip
    commands = {name: " ".join(step.command) for name, step in steps.items()}
    assert "--frames frames" in commands["engine int8"]
    assert commands["bench"].count("--model") == 3 and "--torch net.pt" in commands["bench"]


def test_prove_plans_no_engine_of_a_bundle_that_cannot_be_read(tmp_path: Path) -> None:
    steps = planned(prove.plan(options(bundle=tmp_path), tmp_path / "store"))
    assert list(steps) == ["machine", "kernels", "bundle", "memcheck", "racecheck"]


@pytest.mark.parametrize(
    ("tensorrt", "batch"),
    [("8.5.3.1", "1 8 8"), ("8.6.2", "1 8 8"), ("10.3.0", "1 8 16"), ("11.4.0.106", "1 8 16"), ("", "1 8 16")],
)
def test_prove_orders_batches_that_each_get_a_graph(tmp_path: Path, tensorrt: str, batch: str) -> None:
    """Before 10 only where each has a profile: sixteen share one context, and the bench would have no graphs."""
    plan = prove.plan(options(bundle=tmp_path), tmp_path / "store")
    steps = planned(plan, {"machine": {"tensorrt": tensorrt}, "bundle": ["fp16"]})
    assert f"--batch {batch} " in " ".join(steps["engine fp16"].command)
    assert tasks.batches(tensorrt)[2] >= 8  # what the aim speaks of


@pytest.mark.parametrize("version", ["8.5.3.1", "8.6.2", "9.1.0", "10.3.0", "11.4.0.106"])
def test_engines_that_are_ordered_have_a_context_for_each_batch(version: str) -> None:
    """A profile of its own, or versions whose contexts share one: without, there is no graph to measure."""
    module = ModuleType("tensorrt")
    module.__dict__["__version__"] = version
    tensorrt = TensorRt(TENSORRT, module)
    for batch in (tasks.batches(version), step_4.BATCH, (1, 2, test_on_gpu.MAX_BATCH)):
        profiles = profile_batches(tensorrt, batch)
        exact = all((size, size, size) in profiles for size in range(1, batch[2] + 1))
        assert exact or tensorrt.shared_profiles, (batch, profiles)


def test_fill_names_a_bundle_after_each_precision(bundle: Path, tmp_path: Path) -> None:
    assert fill(bundle, tmp_path / "store", ()) == ["fp32", "fp16"]
    plain = Bundle.open(bundle)
    files: dict[str, bytes | Path] = {name: plain.directory / name for name in plain.manifest.files}
    made = Store(tmp_path / "made").add(plain.manifest, {**files, MODEL_INT8: square_model(plain.manifest.input_wh)})
    assert fill(made.directory, tmp_path / "store", ()) == ["fp32", "fp16", "int8"]
    assert fill(bundle, tmp_path / "other", ("int8", "fp16")) == ["fp16"]
    assert Store(tmp_path / "store").names() == ["fp16", "fp32", "int8"]
