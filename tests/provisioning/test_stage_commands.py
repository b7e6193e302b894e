"""The stages as people type them, on the hand-made model and pictures of it."""

from __future__ import annotations

import dataclasses
import errno
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from edged.core.bundle import MODEL, MODEL_INT8, Bundle
from edged.core.errors import EdgedError
from edged.core.manifest import EngineRecord, Manifest
from provisioning.__main__ import main
from provisioning.build.bundle_engine import add_engine
from provisioning.build.maker import DecodeBy, engine_file
from provisioning.revision import revise
from provisioning.store import Store
from tests.handmade import CLASSES, DECODE, draw_square, square_model

WH = (320, 320)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of squares, and a store with the active bundle `squares`."""
    (tmp_path / "pictures").mkdir()
    for number in range(16):
        image = np.full((*WH[::-1], 3), 110, np.uint8)
        draw_square(image, CLASSES[number % 3], 8 + 80 * (number % 4), 8 + 80 * (number // 4))
        cv2.imwrite(str(tmp_path / f"pictures/{number:02d}.png"), image)
    manifest = Manifest(
        name="squares",
        architecture="handmade",
        classes=CLASSES,
        decode=DECODE,
        input_wh=WH,
        licence="Apache-2.0",
        files={},
    )
    store = Store(tmp_path / "store")
    store.add(manifest, {MODEL: square_model(WH)})
    store.activate("squares")
    return tmp_path


def run(folder: Path, *words: str) -> int:
    uses_store = words[0] not in {"sample", "fetch"}
    return main([*words, *(["--store", str(folder / "store")] if uses_store else [])])


def sampled(folder: Path) -> str:
    words = ["--count", "8", "--verification", "8", "--out", str(folder / "frames")]
    assert run(folder, "sample", str(folder / "pictures"), *words) == 0
    return str(folder / "frames")


def test_sample_quantize_verify_activate(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = sampled(folder)
    assert "8 frames for calibration, 8 for verification" in capsys.readouterr().out
    before = Store(folder / "store").active()
    assert run(folder, "quantize", "squares", "--frames", frames, "--method", "minmax") == 0
    assert "INT8 by minmax over 8 frames" in capsys.readouterr().out
    after = Store(folder / "store").active()
    assert before is not None
    assert after is not None
    assert after.directory == before.directory  # nothing is active before it was verified

    assert run(folder, "activate", "squares") == 65
    assert "never held against float32" in capsys.readouterr().err

    assert run(folder, "verify", "squares", "--frames", frames, "--min-boxes", "8", "--activate") == 0
    assert "passed: F1 1.000 against 8 float32 boxes" in capsys.readouterr().out
    active = Store(folder / "store").active()
    assert active is not None
    assert active.manifest.precision == "int8"
    assert active.manifest.calibration["method"] == "minmax"
    assert {MODEL_INT8, "calibration.json", "report.md"} <= active.manifest.files.keys()


def test_quantize_again_reuses_the_calibration(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = sampled(folder)
    for expected in (False, True):
        capsys.readouterr()
        assert run(folder, "quantize", "squares", "--frames", frames, "--json") == 0
        assert json.loads(capsys.readouterr().out)["reused"] is expected


def test_verify_below_the_gate_ends_with_65(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = sampled(folder)
    run(folder, "quantize", "squares", "--frames", frames, "--method", "minmax")
    out = str(folder / "report")
    assert run(folder, "verify", "squares", "--frames", frames, "--activate", "--out", out) == 65
    assert "show too little: float32 finds 8 boxes" in capsys.readouterr().err
    assert (folder / "report" / "report.md").exists()
    assert run(folder, "activate", "squares") == 65
    assert "show too little" in capsys.readouterr().err
    active = Store(folder / "store").active()
    assert active is not None
    assert active.manifest.precision == "fp32"
    assert run(folder, "activate", "squares", "--unverified") == 0


def test_patch_prints_the_graph_before_and_after(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "patch", "squares", "--threshold", "0.05") == 0
    text = capsys.readouterr().out
    assert "output  p3 float" in text
    assert "prenms_score_threshold = 0.05" in text
    bundle = Store(folder / "store").open("squares")
    assert bundle.manifest.min_confidence == 0.05
    assert onnx.load_from_string(bundle.read("model.plugin.onnx")).graph.node[-1].op_type == "YoloLayer_TRT"
    assert run(folder, "show", "squares") == 0
    assert "edged::YoloLayer_TRT YoloLayer(p3, p4, p5)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        pytest.param(["quantize", "nobody", "--frames", "x"], 78, "nobody", id="no-such-bundle"),
        pytest.param(["quantize", "squares", "--frames", "/nonexistent"], 65, "edged-provision sample", id="no-frames"),
        pytest.param(["verify", "squares", "--frames", "/nonexistent"], 65, "frames.json cannot be read", id="verify"),
        pytest.param(["patch", "squares", "--threshold", "1"], 2, "must be in 0..1", id="threshold"),
        pytest.param(["build", "squares", "--batch", "4", "1", "2"], 2, "three ascending", id="batch"),
        pytest.param(["build", "squares", "--batch", "4", "4", "8"], 2, "the first 1 as a camera", id="batch-of-4"),
        pytest.param(["build", "squares", "--batch", "1", "1", "65"], 2, "from 1 to 64", id="large-batch"),
        pytest.param(["build", "squares", "--workspace-mb", "-5"], 2, "must be 16 to 1048576, got -5", id="workspace"),
        pytest.param(["build", "squares", "--activate"], 2, "--activate needs --frames", id="unverified"),
        pytest.param(["fetch", "yolov9"], 2, "neither a known name", id="fetch"),
        pytest.param(["sample", "/nonexistent.mp4", "--out", "/nonexistent/x"], 65, "does not exist", id="sample"),
    ],
)
def test_wrong_words_end_with_a_code_and_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert run(folder, *words) == code
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_the_chain_without_a_configuration_says_how_to_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", str(tmp_path / "edged.toml")]) == 78
    assert "--config" in capsys.readouterr().err


class FakeMaker:
    """A machine that builds engines, without one."""

    typed = False
    decode: DecodeBy = "kernel"
    facts: Mapping[str, str] = {}
    runs_here = True
    title = "TensorRT 8.6.1"
    passed_over = ""

    def warning(self, precision: str) -> str:
        return f"nothing speaks for {precision}"

    def without_plugin(self) -> FakeMaker:
        return self

    def build(
        self, model: Path, folder: Path, *, precision: str, batch: tuple[int, int, int], workspace_mb: int
    ) -> EngineRecord:
        assert onnx.load(str(model)).graph.node[-1].op_type == "Sigmoid"
        (folder / "engine.plan").write_bytes(b"plan")
        (folder / "timing.cache").write_bytes(str(workspace_mb).encode())
        name = engine_file(precision, "Fake", ())
        return EngineRecord(name, "8.6.1", "Fake", "8.7", precision, "kernel", "", batch)


def test_an_engine_is_added_to_a_bundle_of_the_store(folder: Path) -> None:
    store = Store(folder / "store")
    bundle = store.open("squares")
    made = add_engine(store, bundle, FakeMaker(), precision="fp16", batch=(1, 1, 2), workspace_mb=64)
    assert made.manifest.precision == "fp16"
    assert [dataclasses.astuple(engine)[:2] for engine in made.manifest.engines] == [("engine-fp16-fake.plan", "8.6.1")]
    assert made.read("timing.cache") == b"64"
    again = add_engine(store, made, FakeMaker(), precision="fp32", batch=(1, 1, 2), workspace_mb=64)
    assert [engine.precision for engine in again.manifest.engines] == ["fp32", "fp16"]
    thrice = add_engine(store, again, FakeMaker(), precision="fp16", batch=(1, 1, 4), workspace_mb=64)
    engines = [(engine.precision, engine.batch) for engine in thrice.manifest.engines]
    assert engines == [("fp16", (1, 1, 4)), ("fp32", (1, 1, 2))], "one for the same device and precision gives way"


def with_engine(store: Store, **changes: Any) -> Bundle:
    """The bundle as an earlier release left it: one engine, `engine.plan`."""
    record = EngineRecord("engine.plan", "8.6.1", "Fake", "8.7", "fp16", "kernel", "", (1, 1, 2))
    record = dataclasses.replace(record, **changes)
    return revise(store, store.open("squares"), {record.file: b"old"}, precision="fp16", engines=(record,))


@pytest.mark.parametrize(
    ("changes", "stays"),
    [({}, False), ({"gpu": "Another"}, True), ({"precision": "fp32"}, True), ({"kind": "rtx"}, True)],
)
def test_an_engine_that_the_new_one_makes_useless_goes_with_its_file(
    folder: Path,
    changes: dict[str, str],
    stays: bool,  # noqa: FBT001
) -> None:
    store = Store(folder / "store")
    bundle = with_engine(store, **changes)
    made = add_engine(store, bundle, FakeMaker(), precision="fp16", batch=(1, 1, 2), workspace_mb=64)
    assert [engine.file for engine in made.manifest.engines] == ["engine-fp16-fake.plan", *["engine.plan"] * stays]
    assert ("engine.plan" in made.manifest.files) == stays


def test_a_damaged_engine_does_not_keep_a_new_one_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(folder / "store")
    bundle = with_engine(store, gpu="Another")
    (bundle.directory / "engine.plan").chmod(0o644)
    (bundle.directory / "engine.plan").write_bytes(b"altered")
    with caplog.at_level(logging.WARNING):
        made = add_engine(store, bundle, FakeMaker(), precision="fp16", batch=(1, 1, 2), workspace_mb=64)
    assert [engine.file for engine in made.manifest.engines] == ["engine-fp16-fake.plan"]
    assert "engine.plan is left out" in caplog.text


class MeanwhileMaker(FakeMaker):
    """Somebody else is quicker while it builds."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work

    def build(
        self, model: Path, folder: Path, *, precision: str, batch: tuple[int, int, int], workspace_mb: int
    ) -> EngineRecord:
        self._work()
        return super().build(model, folder, precision=precision, batch=batch, workspace_mb=workspace_mb)


def test_an_engine_that_another_process_added_meanwhile_is_kept(folder: Path) -> None:
    store = Store(folder / "store")
    maker = MeanwhileMaker(lambda: with_engine(Store(folder / "store"), gpu="Another"))
    made = add_engine(store, store.open("squares"), maker, precision="fp16", batch=(1, 1, 2), workspace_mb=64)
    assert [engine.gpu for engine in made.manifest.engines] == ["Fake", "Another"]


def test_a_model_that_was_replaced_meanwhile_gets_no_engine_of_the_old_one(folder: Path) -> None:
    store = Store(folder / "store")
    other = dataclasses.replace(store.open("squares").manifest, input_wh=(64, 64))
    maker = MeanwhileMaker(lambda: Store(folder / "store").add(other, {MODEL: square_model((64, 64))}))
    with pytest.raises(EdgedError, match="squares was replaced while its engine was built"):
        add_engine(store, store.open("squares"), maker, precision="fp16", batch=(1, 1, 2), workspace_mb=64)
    assert not store.open("squares").manifest.engines


def test_a_full_disk_while_building_is_a_message(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/model.onnx")

    monkeypatch.setattr(onnx, "save", full)
    store = Store(folder / "store")
    with pytest.raises(EdgedError, match=r"/tmp/model\.onnx: No space left on device; free space"):
        add_engine(store, store.open("squares"), FakeMaker(), precision="fp16", batch=(1, 1, 2), workspace_mb=64)


def test_an_engine_of_int8_leaves_the_cpu_its_verified_graph_and_is_not_verified_by_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = sampled(folder)
    assert run(folder, "quantize", "squares", "--frames", frames, "--method", "minmax") == 0
    assert run(folder, "verify", "squares", "--frames", frames, "--min-boxes", "8") == 0
    store = Store(folder / "store")
    made = add_engine(store, store.open("squares"), FakeMaker(), precision="int8", batch=(1, 1, 2), workspace_mb=64)
    assert made.manifest.report["passed"] and made.manifest.report["file"] == "model.int8.cpu.onnx"
    assert run(folder, "activate", "squares") == 65
    assert "its graph for a CPU passed, but engine-int8-fake.plan was never held" in capsys.readouterr().err
    assert run(folder, "verify", "squares", "--frames", frames, "--min-boxes", "8", "--cpu") == 0
    assert run(folder, "activate", "squares", "--unverified") == 0


@pytest.mark.parametrize(
    "words", [["build"], ["patch"], ["quantize", "--frames", "x"], ["verify", "--frames", "x"]], ids=lambda w: w[0]
)
def test_what_changes_a_bundle_wants_its_name(
    folder: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, words[0], "active", *words[1:]) == 2
    assert "'active' names no bundle; say which one: squares" in capsys.readouterr().err
