"""A bundle is used only as it was made: whole, unaltered, without links that lead out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from edged.core.bundle import Bundle
from edged.core.errors import BundleMismatch, DataError
from edged.core.types import Frame, Thresholds
from edged.cpu.detector import CpuDetector
from tests.fakes import make_frame
from tests.handmade import draw_square, edit_manifest, write_bundle

ENGINE = {
    "file": "engine.plan", "tensorrt": "10.3.0", "gpu": "Orin", "compute_capability": "8.7", "precision": "fp16",
    "decode": "kernel", "plugin_version": "", "batch": [1, 1, 4],
}  # fmt: skip


GRID = {"kind": "grid", "anchors": [[[8, 8]], [[16, 16]], [[32, 32]]], "strides": [8, 16, 32], "family": "yolov5"}
LAST_RELEASE = Path(__file__).parent / "schema_1"  # written by the release before manifests had a kind of decode


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "store" / ".objects" / "abc", input_wh=(64, 64))


def test_open_and_read(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    assert opened.manifest.classes == ("red", "green", "blue")
    assert opened.read("model.onnx") == (bundle / "model.onnx").read_bytes()


def test_open_follows_the_links_of_its_store(bundle: Path) -> None:
    link = bundle.parent.parent / "active"
    link.symlink_to(Path(".objects") / "abc")
    assert Bundle.open(link).directory == bundle


def test_open_refuses_a_link_that_leads_elsewhere(bundle: Path, tmp_path: Path) -> None:
    link = tmp_path / "active"
    link.symlink_to(bundle)
    with pytest.raises(DataError, match=r"outside its store's \.objects; refused"):
        Bundle.open(link)


def test_open_of_nothing_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(BundleMismatch, match="No such file or directory; make one with: edged-provision import"):
        Bundle.open(tmp_path / "active")


def test_open_of_weights_names_the_command(tmp_path: Path) -> None:
    (tmp_path / "yolov5n.pt").write_bytes(b"x")
    with pytest.raises(DataError, match="not a model bundle but a file; run: edged-provision import"):
        Bundle.open(tmp_path / "yolov5n.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"schema": 3}, "schema 3, this edged reads schema 1 to 2; provision", id="schema"),
        pytest.param({"classes": []}, "classes must be a non-empty list", id="no-classes"),
        pytest.param({"schema": True}, "schema True, this edged reads", id="schema-bool"),
        pytest.param({"decode": {**GRID, "anchors": [[[1, 2]]]}}, "one equally long list a stride", id="anchors"),
        pytest.param({"decode": {**GRID, "anchors": "x"}}, "misshapen manifest", id="wrong-type"),
        pytest.param({"decode": {**GRID, "strides": [16, 8, 32]}}, "strides must ascend", id="strides"),
        pytest.param({"decode": {**GRID, "surprise": 1}}, "misshapen manifest", id="decode-unknown-field"),
        pytest.param({"decode": {**GRID, "family": ""}}, "family must be text", id="decode-family"),
        pytest.param({"decode": []}, "misshapen manifest", id="decode-list"),
        pytest.param({"decode": {"kind": "later"}}, "decode 'later' is not known to this edged.*; update", id="decode"),
        pytest.param({"surprise": 1}, "misshapen manifest", id="unknown-field"),
        pytest.param({"input_wh": [100, 64]}, "multiples of 8", id="input"),
        pytest.param({"files": {"../x": {"sha256": "", "bytes": 1}}}, "leaves the bundle directory", id="path"),
        pytest.param({"engines": [{**ENGINE, "kind": 5}]}, "names must be texts", id="engine-kind"),
        pytest.param({"engines": [{**ENGINE, "kind": []}]}, "names must be texts", id="engine-kind-list"),
        pytest.param({"engines": [{**ENGINE, "tensorrt": None}]}, "names must be texts", id="engine-version"),
        pytest.param({"engines": [{**ENGINE, "capabilities": "8.6"}]}, "names must be texts", id="engine-capabilities"),
        pytest.param({"engines": [{**ENGINE, "capabilities": [8.6]}]}, "names must be texts", id="engine-capability"),
        pytest.param({"engines": [{**ENGINE, "capabilities": None}]}, "misshapen manifest", id="engine-null"),
        pytest.param({"engines": [{**ENGINE, "batch": [4, 4, -8]}]}, "three ascending numbers", id="engine-batch"),
        pytest.param({"engines": [{**ENGINE, "precision": "int4"}]}, "precision 'int4'", id="engine-precision"),
        pytest.param({"engines": [{**ENGINE, "decode": "magic"}]}, "decode 'magic'", id="engine-decode"),
        pytest.param({"engines": [{"file": "engine.plan"}]}, "misshapen manifest", id="engine-torn"),
        pytest.param({"precision": "int4"}, "precision must be one of fp32, fp16, int8", id="precision"),
    ],
)
def test_open_refuses_a_manifest(bundle: Path, change: dict[str, object], message: str) -> None:
    edit_manifest(bundle, **change)
    with pytest.raises((DataError, BundleMismatch), match=message):
        Bundle.open(bundle)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"<!doctype html>"])
def test_open_refuses_what_is_no_manifest(bundle: Path, content: bytes) -> None:
    (bundle / "manifest.json").write_bytes(content)
    with pytest.raises((DataError, BundleMismatch)):
        Bundle.open(bundle)


def test_read_refuses_an_altered_file_and_says_both_hashes(bundle: Path) -> None:
    model = bundle / "model.onnx"
    content = model.read_bytes()
    model.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DataError, match=r"expected \d+ bytes with SHA-256 [0-9a-f]{64}, got \d+ bytes with [0-9a-f]"):
        Bundle.open(bundle).read("model.onnx")


def test_read_refuses_a_truncated_and_a_longer_file(bundle: Path) -> None:
    model = bundle / "model.onnx"
    content = model.read_bytes()
    for other in (content[:100], content + b"x", b""):
        model.write_bytes(other)
        with pytest.raises(DataError, match="damaged or was altered"):
            Bundle.open(bundle).read("model.onnx")


def test_read_refuses_a_missing_file_a_link_and_one_that_everyone_may_write(bundle: Path) -> None:
    model = bundle / "model.onnx"
    model.chmod(0o666)
    with pytest.raises(DataError, match="writable by everyone; refused; chmod o-w"):
        Bundle.open(bundle).read("model.onnx")
    elsewhere = bundle.parent / "elsewhere"
    model.rename(elsewhere)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        Bundle.open(bundle).read("model.onnx")
    model.symlink_to(elsewhere)
    with pytest.raises(DataError, match="is a link, which is refused"):
        Bundle.open(bundle).read("model.onnx")


def test_read_of_a_file_that_the_manifest_does_not_list_says_what_there_is(bundle: Path) -> None:
    with pytest.raises(BundleMismatch, match=r"holds no model\.int8\.onnx \(it holds model\.onnx\)"):
        Bundle.open(bundle).read("model.int8.onnx")


def test_manifest_json_is_canonical(bundle: Path) -> None:
    text = (bundle / "manifest.json").read_text()
    assert Bundle.open(bundle).manifest.to_json() == text


def test_a_bundle_of_the_last_release_is_read_and_detects(tmp_path: Path) -> None:
    old = shutil.copytree(LAST_RELEASE, tmp_path / "old")
    assert json.loads((old / "manifest.json").read_text())["schema"] == 1
    opened, today = Bundle.open(old), Bundle.open(write_bundle(tmp_path / "new", input_wh=(96, 96)))
    assert opened.manifest == today.manifest
    image = np.zeros((96, 96, 3), np.uint8)
    draw_square(image, "green", 8, 8)
    frame = Frame(make_frame(size_wh=(96, 96)).meta, image)
    for each in (opened, today):
        detector = CpuDetector(each, thresholds=Thresholds(), threads=1)
        detector.submit([frame])
        found = detector.collect()[0].detections
        detector.close()
        assert [each.manifest.classes[number] for number in found.class_id] == ["green"]
