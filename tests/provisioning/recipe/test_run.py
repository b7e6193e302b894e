"""The whole chain on a real small network: complete, repeatable, and harmless when it fails."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from edged.core.bundle import MODEL_INT8, Bundle
from edged.core.errors import (
    DataError,
    EdgedError,
    UsageError,
)
from edged.core.types import Thresholds
from edged.cpu.detector import CpuDetector
from provisioning.build import find
from provisioning.recipe import chain
from provisioning.recipe.run import Outcome, run_recipe
from provisioning.recipe.settings import ProvisionSettings
from provisioning.recipe.workshop import Workshop
from provisioning.store import Store
from tests.provisioning.recipe.conftest import Make

pytestmark = pytest.mark.usefixtures("no_tensorrt")
STAGES = ["export", "frames", "quantize", "patch", "bundle", "verify"]


@pytest.fixture
def no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "installed", tuple)


def provision(settings: ProvisionSettings, *, force: bool = False, dry_run: bool = False) -> Outcome:
    return run_recipe(settings, force=force, dry_run=dry_run, say=lambda _line: None)


def fresh(outcome: Outcome) -> list[str]:
    return [output.stage for output in outcome.outputs if output.fresh]


def active(settings: ProvisionSettings) -> Bundle | None:
    return Store(Path(settings.store)).active()


def test_recipe_makes_a_complete_bundle_that_the_daemon_runs(
    make_settings: Make, provisioned: tuple[Path, list[str]]
) -> None:
    assert [line.split()[0] for line in provisioned[1] if "running" in line] == STAGES
    bundle = active(make_settings())
    assert bundle is not None
    expected = {"model.onnx", "model.int8.onnx", "model.plugin.onnx", "calibration.json", "report.json", "report.md"}
    assert expected <= bundle.manifest.files.keys()
    assert bundle.manifest.precision == "int8"
    assert bundle.manifest.licence == "MIT"
    assert bundle.manifest.calibration["frames"] == 6
    patched = onnx.load_from_string(bundle.read("model.plugin.onnx"))
    assert patched.graph.node[-1].op_type == "YoloLayer_TRT"
    assert any(node.op_type == "QuantizeLinear" for node in patched.graph.node)
    CpuDetector(bundle, thresholds=Thresholds(), file=MODEL_INT8).close()


def test_a_second_run_does_nothing(make_settings: Make) -> None:
    settings = make_settings()
    before = {path: path.stat().st_mtime_ns for path in Path(settings.store).rglob("*") if path.is_file()}
    outcome = provision(settings)
    assert (fresh(outcome), outcome.changed) == ([], False)
    _, _, command = outcome.left.partition("on the device run: ")
    assert shlex.split(command)[:3] == ["edged-provision", "build", "pets"]
    assert shlex.split(command)[-2:] == ["--store", settings.store], "it finds the bundle"
    after = {path: path.stat().st_mtime_ns for path in Path(settings.store).rglob("*") if path.is_file()}
    assert {path for path in before if path.name != ".lock" and before[path] != after[path]} == set()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param({"calibration": "entropy"}, ["quantize", "patch", "bundle", "verify"], id="method"),
        pytest.param({"min_f1": 0.01}, ["verify"], id="gate"),
        pytest.param({"prenms_score_threshold": 0.01}, ["patch", "bundle", "verify"], id="threshold"),
        pytest.param({"seed": 5}, ["frames", "quantize", "patch", "bundle", "verify"], id="seed"),
        pytest.param({"size": "64x96"}, ["export", "quantize", "patch", "bundle", "verify"], id="size"),
        pytest.param({"precision": "fp16", "frames": []}, ["patch", "bundle"], id="precision"),
    ],
)
def test_only_what_is_out_of_date_would_be_made(
    make_settings: Make, changes: dict[str, object], expected: list[str]
) -> None:
    assert fresh(provision(make_settings(**changes), dry_run=True)) == expected


def test_new_frames_and_new_weights_are_noticed(
    make_settings: Make, pictures: Path, checkpoint: Path, tmp_path: Path
) -> None:
    shutil.copytree(pictures, tmp_path / "more")
    cv2.imwrite(str(tmp_path / "more" / "9.png"), np.zeros((72, 72, 3), np.uint8))
    changed = make_settings(frames=[str(tmp_path / "more")])
    assert fresh(provision(changed, dry_run=True)) == ["frames", "quantize", "patch", "bundle", "verify"]
    (tmp_path / "other.pt").write_bytes(checkpoint.read_bytes() + b"\0")
    changed = make_settings(weights=str(tmp_path / "other.pt"))
    assert fresh(provision(changed, dry_run=True)) == [stage for stage in STAGES if stage != "frames"]


def test_a_change_is_made_and_activated(make_settings: Make) -> None:
    outcome = provision(make_settings(prenms_score_threshold=0.01))
    assert fresh(outcome) == ["patch", "bundle", "verify"]
    bundle = active(make_settings())
    assert bundle is not None
    assert bundle.manifest.min_confidence == 0.01


@pytest.mark.parametrize("content", [b"\xff", b"{", b"[]"])
@pytest.mark.parametrize(("stage", "name"), [("verify", "report.json"), ("quantize", "manifest-part.json")])
def test_a_damaged_output_of_a_stage_is_named_and_made_again(
    make_settings: Make, stage: str, name: str, content: bytes
) -> None:
    settings = make_settings(prenms_score_threshold=0.01) if stage == "quantize" else make_settings()
    damaged = next(Path(settings.work).glob(f"{stage}-*/{name}"))
    damaged.write_bytes(content)
    with pytest.raises(DataError, match=f"{damaged} is damaged: .*; remove {damaged.parent}, it is made again"):
        provision(settings)
    shutil.rmtree(damaged.parent)
    provision(settings)


def test_force_makes_everything(make_settings: Make) -> None:
    assert fresh(provision(make_settings(), force=True)) == STAGES


def test_dry_run_makes_nothing(make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings(store=str(tmp_path / "new" / "store"), work=str(tmp_path / "new" / "work"))
    assert fresh(provision(settings, dry_run=True)) == STAGES
    assert not (tmp_path / "new").exists()


def test_fp16_without_a_gpu_needs_no_frames(make_settings: Make) -> None:
    outcome = provision(make_settings(precision="fp16", frames=[]))
    assert fresh(outcome) == ["patch", "bundle"]
    assert outcome.bundle is not None
    assert MODEL_INT8 not in outcome.bundle.manifest.files


def test_below_the_gate_nothing_is_activated_nor_named(make_settings: Make) -> None:
    before = active(make_settings())
    with pytest.raises(DataError, match="not activated: the 3 frames show too little"):
        provision(make_settings(min_boxes=10**6))
    after = active(make_settings())
    assert before is not None
    assert after is not None
    assert after.directory == before.directory
    assert Store(Path(make_settings().store)).open("pets").directory == before.directory


@pytest.mark.parametrize(
    ("stage", "broken", "error"),
    [
        ("export", "export_model", EdgedError("no")),
        ("frames", "sample", KeyboardInterrupt()),
        ("quantize", "quantize", OSError(28, "No space left on device")),
        ("patch", "engine_models", EdgedError("no")),
        ("bundle", "write_bundle", OSError(28, "No space left on device")),
        ("verify", "verify_bundle", KeyboardInterrupt()),
    ],
)
def test_a_run_that_ends_early_leaves_the_active_bundle(
    make_settings: Make, monkeypatch: pytest.MonkeyPatch, stage: str, broken: str, error: BaseException
) -> None:
    settings = make_settings()
    before = active(settings)
    for output in Path(settings.work).glob(f"{stage}-*"):
        shutil.rmtree(output)

    def fail(*_args: object, **_kwargs: object) -> None:
        raise error

    monkeypatch.setattr(chain, broken, fail)
    with pytest.raises((KeyboardInterrupt, EdgedError)):
        provision(settings)
    after = active(settings)
    assert before is not None
    assert after is not None
    assert after.directory == before.directory
    assert list(Path(settings.work).glob(".unfinished*")) == []
    assert list(Path(settings.work).glob(f"{stage}-*")) == []


def test_missing_weights_and_sources_are_messages(make_settings: Make, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"weights .* cannot be read"):
        provision(make_settings(weights=str(tmp_path / "missing.pt")))
    with pytest.raises(DataError, match="does not exist"):
        provision(make_settings(frames=[str(tmp_path / "missing.mp4")]))
    with pytest.raises(UsageError, match="neither a known name"):
        provision(make_settings(weights="no-such-name"))


def test_two_runs_exclude_each_other(make_settings: Make) -> None:
    settings = make_settings()
    shop = Workshop(Path(settings.work), force=False, dry_run=False, say=lambda _line: None)
    with shop.locked(), pytest.raises(EdgedError, match=f"in use by .*{os.getpid()}"):
        provision(settings)
