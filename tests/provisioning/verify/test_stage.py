"""Verification of whole bundles: the hand-made detector of coloured squares, quantised for real."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from edged.core.bundle import MODEL, MODEL_INT8, MODEL_INT8_CPU
from edged.core.errors import DataError, UsageError
from edged.core.manifest import Manifest
from edged.cpu.choice import choose_graph
from edged.cpu.processors import processor_name
from provisioning.frames.frameset import FrameSet
from provisioning.frames.sample import sample
from provisioning.quantize.int8 import quantize
from provisioning.store import Store
from provisioning.verify.checked import verified
from provisioning.verify.gate import Gate
from provisioning.verify.stage import verify_bundle
from tests.handmade import CLASSES, DECODE, draw_square, square_model

WH = (320, 320)
GREY = 110
EASY = Gate(min_boxes=5)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> FrameSet:
    """Squares here and there; the hand-made model finds each of them."""
    folder = tmp_path_factory.mktemp("squares")
    for number in range(16):
        image = np.full((*WH[::-1], 3), GREY, np.uint8)
        draw_square(image, CLASSES[number % 3], 8 + 80 * (number % 4), 8 + 80 * (number // 4))
        cv2.imwrite(str(folder / f"{number}.png"), image)
    return sample([str(folder)], tmp_path_factory.mktemp("sampled") / "frames", count=8, verification=8)


@pytest.fixture
def store(tmp_path: Path, frames: FrameSet) -> Store:
    """A store with the bundles `squares` (float32 and INT8) and `plain` (float32 only)."""
    model = square_model(WH)
    int8 = quantize(onnx.load_from_string(model), frames, method="minmax", cache=tmp_path / "c.json")
    manifest = Manifest(
        name="squares",
        architecture="handmade",
        classes=CLASSES,
        decode=DECODE,
        input_wh=WH,
        licence="Apache-2.0",
        precision="int8",
        files={},
    )
    made = Store(tmp_path / "store")
    made.add(
        manifest,
        {MODEL: model, MODEL_INT8: int8.model.SerializeToString(), MODEL_INT8_CPU: int8.cpu.SerializeToString()},
    )
    made.add(dataclasses.replace(manifest, name="plain", precision="fp32"), {MODEL: model})
    return made


def write_labels(folder: Path, frames: FrameSet, *, shift: float = 0.0) -> Path:
    """A data set of the verification frames, each with the square that is in it."""
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for number, pixels in enumerate(frames.pictures("verification")):
        ys, xs = np.nonzero((pixels != GREY).any(axis=2))
        colour = 2 - int(pixels[ys[0], xs[0]].argmax())  # BGR to the classes' order
        centre = ((xs.min() + 32) / WH[0] + shift, (ys.min() + 32) / WH[1])
        cv2.imwrite(str(folder / f"images/{number}.png"), pixels)
        (folder / f"labels/{number}.txt").write_text(f"{colour} {centre[0]} {centre[1]} {64 / WH[0]} {64 / WH[1]}\n")
    spec = folder / "data.yaml"
    spec.write_text("val: images\nnames: [red, green, blue]\n")
    return spec


def test_int8_bundle_that_agrees_passes_and_keeps_its_report(store: Store, frames: FrameSet, tmp_path: Path) -> None:
    verdict = verified(store, store.open("squares"), frames.folder, gate=EASY, out=tmp_path / "out")
    assert verdict.passed
    bundle = store.open("squares")
    assert {"report.json", "report.md", "report-1.jpg", MODEL_INT8} <= bundle.manifest.files.keys()
    assert bundle.manifest.report["passed"] is True
    facts = json.loads(bundle.read("report.json"))
    assert facts["agreement"]["f1"] == 1.0
    assert facts["candidate"] == "model.int8.cpu.onnx on ONNX Runtime"
    assert bundle.manifest.report["processor"] == processor_name()
    asked = choose_graph(bundle.manifest, "auto")  # a hand-made model of three layers: either may be faster
    assert asked.precision == "int8" or "not clearly faster here" in asked.why
    assert facts["agreement"]["reference_boxes"] == 8
    assert facts["median_ms"]["candidate"]["inference"] > 0
    assert all(facts["one_core_ms"][side] > 0 for side in ("float32", "candidate"))
    assert facts["resident_bytes"]["candidate"] > 1_000_000
    text = (tmp_path / "out" / "report.md").read_text()
    assert "**Passed**: F1 1.000" in text
    assert "| inference on one core |" in text
    picture = cv2.imread(str(tmp_path / "out" / "report-1.jpg"))
    assert picture is not None
    assert picture.shape == (320, 320, 3)


def test_too_little_to_see_is_refused_and_activates_nothing(store: Store, frames: FrameSet) -> None:
    store.activate("plain")
    with pytest.raises(DataError, match="show too little: float32 finds 8 boxes"):
        verified(store, store.open("squares"), frames.folder)
    active = store.active()
    assert active is not None
    assert active.manifest.name == "plain"
    assert store.open("squares").manifest.report["passed"] is False


def test_a_candidate_that_disagrees_is_refused(store: Store, frames: FrameSet) -> None:
    bundle = store.open("squares")
    deaf = onnx.load_from_string(bundle.read(MODEL))
    bias = next(tensor for tensor in deaf.graph.initializer if tensor.name == "p4_b2")
    values = onnx.numpy_helper.to_array(bias).copy()
    values[:] = -20.0
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    store.add(bundle.manifest, {MODEL: bundle.read(MODEL), MODEL_INT8_CPU: deaf.SerializeToString()})
    with pytest.raises(DataError, match=r"not activated: F1 0\.000 against 8"):
        verified(store, store.open("squares"), frames.folder, gate=EASY)


def test_labelled_pictures_decide_where_given(store: Store, frames: FrameSet, tmp_path: Path) -> None:
    spec = write_labels(tmp_path / "labelled", frames)
    verdict = verified(store, store.open("squares"), frames.folder, labelled=spec)
    assert "mAP50-95 1.0000 against 1.0000 in float32 on 8 labelled pictures" in verdict.reason


def test_labelled_pictures_of_unknown_classes_are_refused(store: Store, frames: FrameSet, tmp_path: Path) -> None:
    spec = write_labels(tmp_path / "labelled", frames)
    spec.write_text("val: images\nnames: [red, green, violet]\n")
    with pytest.raises(DataError, match="does not know the class 'violet'"):
        verify_bundle(store.open("squares"), frames, EASY, labelled=spec)


def test_a_bundle_with_float32_only_has_nothing_to_compare(store: Store, frames: FrameSet) -> None:
    with pytest.raises(UsageError, match="nothing to compare"):
        verify_bundle(store.open("plain"), frames, EASY)


def test_frames_without_some_for_verification_are_refused(store: Store, frames: FrameSet) -> None:
    seen = tuple(dataclasses.replace(frame, use="calibration") for frame in frames.frames)
    with pytest.raises(DataError, match="keeps no frames for verification"):
        verify_bundle(store.open("squares"), dataclasses.replace(frames, frames=seen), EASY)
