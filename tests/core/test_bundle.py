"""A bundle is used only as it was made: whole, unaltered, without links that lead out."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.core.bundle import Bundle
from edged.core.errors import BundleMismatch, DataError
from tests.handmade import edit_manifest, write_bundle

ENGINE = {
    "file": "engine.plan", "tensorrt": "10.3.0", "gpu": "Orin", "compute_capability": "8.7", "precision": "fp16",
    "decode": "kernel", "plugin_version": "", "batch": [1, 1, 4],
}  # fmt: skip


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
        pytest.param({"schema": 2}, "schema 2, this edged reads schema 1; provision", id="schema"),
        pytest.param({"classes": []}, "classes must be a non-empty list", id="no-classes"),
        pytest.param({"anchors": [[[1, 2]]]}, "anchors must be one equally long list a stride", id="anchors"),
        pytest.param({"anchors": "x"}, "misshapen manifest", id="wrong-type"),
        pytest.param({"surprise": 1}, "misshapen manifest", id="unknown-field"),
        pytest.param({"input_wh": [100, 64]}, "multiples of 32", id="input"),
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
