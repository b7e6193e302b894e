"""Checkpoints: official ones of both releases, our own, and everything that is neither."""

from __future__ import annotations

import errno
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch
from torch import nn

from edged.core.errors import DataError, EdgedError
from provisioning.model.checkpoint import read_checkpoint
from provisioning.model.description import Release, Size
from provisioning.model.parts import Activation
from provisioning.model.torch_checkpoint import as_tensors, checkpoint_of, network_of, save_checkpoint
from tests.provisioning.checkpoints import save_official
from tests.provisioning.networks import lively

NAMES = ["cat", "dog"]


@pytest.fixture
def official(tmp_path: Path) -> Path:
    path = tmp_path / "best.pt"
    save_official(path, lively(), names=NAMES)
    return path


@pytest.mark.parametrize(
    ("size", "release", "activation"),
    [("n", "6", "silu"), ("s", "6", "silu"), ("n", "5", "silu"), ("n", "6", "leaky_relu")],
)
def test_read_official(tmp_path: Path, size: Size, release: Release, activation: Activation) -> None:
    net = lively(size, release=release, activation=activation)
    save_official(tmp_path / "best.pt", net, names={0: "cat", 1: "dog"}, half=False)
    checkpoint = read_checkpoint(tmp_path / "best.pt")
    network = checkpoint.description
    told = (network.size, network.release, checkpoint.names, network.activation, checkpoint.origin)
    # Sizes n and s of release 5 differ in width, so n is told apart although 5.0 had none.
    assert told == (size, release, ("cat", "dog"), activation, "yolov5")
    assert network.anchors[2][2] == (373.0, 326.0)
    assert checkpoint.date == "2021-04-12T10:00:00"
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for got, expected in zip(network_of(checkpoint)(images), net(images), strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=0)


def test_read_official_half_precision_becomes_single(official: Path) -> None:
    state = read_checkpoint(official).state
    assert {value.dtype for value in state.values()} == {np.dtype(np.float32), np.dtype(np.int64)}
    expected = lively().state_dict()["model.2.cv1.conv.weight"].half().float()
    np.testing.assert_array_equal(state["model.2.cv1.conv.weight"], expected.numpy())


def test_read_official_prefers_smoothed_weights(tmp_path: Path) -> None:
    plain = lively()
    for parameter in plain.parameters():
        parameter.data.zero_()
    save_official(tmp_path / "best.pt", plain, names=NAMES, ema=lively())
    assert read_checkpoint(tmp_path / "best.pt").state["model.0.conv.weight"].any()


@pytest.mark.slow
@pytest.mark.parametrize("size", ["m", "l", "x"])
def test_read_official_large(tmp_path: Path, size: Size) -> None:
    save_official(tmp_path / "best.pt", lively(size), names=NAMES)
    assert read_checkpoint(tmp_path / "best.pt").description.size == size


def _rename(old: bytes, new: bytes) -> Callable[[Path], None]:
    """Another class name of the same length in the pickle."""

    def edit(path: Path) -> None:
        _rewrite(path, lambda name, blob: blob.replace(old, new) if name.endswith("data.pkl") else blob)

    return edit


def _rewrite(path: Path, edit: Callable[[str, bytes], bytes], *, compression: int = zipfile.ZIP_STORED) -> None:
    """The same zip with its records passed through `edit`."""
    with zipfile.ZipFile(path) as source:
        records = {info.filename: source.read(info) for info in source.infolist()}
    with zipfile.ZipFile(path, "w", compression) as target:
        for name, blob in records.items():
            target.writestr(name, edit(name, blob))


def _write(content: bytes) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        path.write_bytes(content)

    return edit


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def _flip_weights(path: Path) -> None:
    """One bit of a weight changes on the disk; the zip's checksum notices."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def _script(path: Path) -> None:
    _rewrite(path, lambda _, blob: blob)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{path.stem}/constants.pkl", b"")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(_write(b""), r"empty \(0 bytes\)", id="empty"),
        pytest.param(_write(b"<!DOCTYPE html><html>login</html>"), "web page", id="html"),
        pytest.param(_write(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "git lfs pull", id="lfs"),
        pytest.param(_write(b"\x08\x07\x12\x07pytorch"), "not a torch checkpoint", id="onnx"),
        pytest.param(_write(pickle.dumps({"model": 1})), "bare pickle", id="pickle"),
        pytest.param(_truncate, "truncated or damaged", id="truncated"),
        pytest.param(_flip_weights, "damaged", id="bit flip"),
        pytest.param(_script, "TorchScript", id="torchscript"),
        pytest.param(
            lambda path: _rewrite(path, lambda _, blob: blob, compression=zipfile.ZIP_DEFLATED),
            "compressed",
            id="compressed",
        ),
        pytest.param(
            lambda path: _rewrite(path, lambda name, blob: b"big" if name.endswith("byteorder") else blob),
            "big-endian",
            id="big endian",
        ),
        pytest.param(
            lambda path: _rewrite(path, lambda name, blob: blob[:-2] if name.endswith("data/3") else blob),
            "bytes, expected",
            id="short storage",
        ),
        pytest.param(_rename(b"SPPF", b"CBAM"), "layer 9 is CBAM.* has SPPF", id="another layer"),
        pytest.param(_rename(b"DetectionModel", b"DefectionModel"), "YOLOv5 DefectionModel", id="another model"),
        pytest.param(_rename(b"models.yolo", b"nodels.yolo"), "not YOLOv5: it holds a nodels.yolo", id="another tree"),
    ],
)
def test_read_refuses(official: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(official)
    with pytest.raises(DataError, match=message) as caught:
        read_checkpoint(official)
    assert str(caught.value).startswith(f"{official}: ")
    assert "\n" not in str(caught.value)


def test_read_refuses_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_checkpoint(tmp_path / "none.pt")


@pytest.mark.parametrize("cut", [1, 100, 10_000, 1_000_000])
def test_read_refuses_truncation_anywhere(official: Path, cut: int) -> None:
    official.write_bytes(official.read_bytes()[:cut])
    with pytest.raises(DataError):
        read_checkpoint(official)


def _set_nan(model: nn.Module) -> None:
    next(iter(model.parameters())).data[0] = float("nan")


def _two_anchor_rows(model: nn.Module) -> None:
    detect = model.get_submodule("model.24")
    detect.anchors = torch.ones(2, 3, 2)


def _set(module: str, attribute: str, value: object) -> Callable[[nn.Module], None]:
    return lambda model: setattr(model.get_submodule(module), attribute, value)


def _without(module: str, name: str) -> Callable[[nn.Module], None]:
    return lambda model: delattr(model.get_submodule(module), name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(_set_nan, "model.0.conv.weight has values that are not finite", id="nan"),
        pytest.param(_two_anchor_rows, r"anchors must be \(3, A, 2\), got \(2, 3, 2\)", id="anchor rows"),
        pytest.param(_set("", "names", ["cat"]), "1 class names for heads with 2 classes", id="names"),
        pytest.param(_set("", "names", 7), "names must be a list, .* got int", id="no names"),
        pytest.param(_set("", "names", {1: "a", 2: "b"}), "numbered 0 to 1 without gaps, got 1, 2", id="names from 1"),
        pytest.param(_set("", "names", ["a", ""]), "name of class 1 is empty", id="empty name"),
        pytest.param(_set("model.24", "stride", torch.tensor([4.0, 8, 16])), "strides", id="strides"),
        pytest.param(_set("model.1.conv", "groups", 2), "groups is 2, expected 1", id="groups"),
        pytest.param(_set("model.2.m.0", "add", 0), "add is 0", id="no shortcut"),
        pytest.param(_set("model.9.m", "kernel_size", 3), "kernel_size is 3", id="pool"),
        pytest.param(_set("model.1", "act", nn.Hardswish()), "activation Hardswish", id="activation"),
        pytest.param(_without("model.4", "cv3"), "model.4.cv3 is missing", id="a module is missing"),
    ],
)
def test_read_refuses_changed_model(tmp_path: Path, change: Callable[[nn.Module], None], message: str) -> None:
    path = tmp_path / "best.pt"
    save_official(path, lively(), names=NAMES, change=change)
    with pytest.raises(DataError, match=message):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param({}, "without a model", id="empty"),
        pytest.param({"model": None, "epoch": 3}, r"it holds .model., .epoch.", id="no model"),
        pytest.param({"conv.weight": torch.zeros(2)}, "bare weights", id="state dict"),
        pytest.param(nn.Linear(2, 2), "not YOLOv5: it holds a torch.nn.modules.linear.Linear", id="other network"),
        pytest.param([1, 2], "without a model .it holds list", id="list"),
        pytest.param({"format": "edged-checkpoint/9"}, "this version reads", id="newer format"),
        pytest.param({"format": "edged-checkpoint/1"}, "size None", id="ours, empty"),
    ],
)
def test_read_refuses_other_contents(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(DataError, match=message):
        read_checkpoint(tmp_path / "x.pt")


def test_read_refuses_format_before_torch_1_6(tmp_path: Path) -> None:
    torch.save({"model": torch.zeros(3)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(DataError, match=r"format before 1\.6"):
        read_checkpoint(tmp_path / "old.pt")


def test_save_and_read_ours(tmp_path: Path) -> None:
    net = lively(classes=2)
    history = {"epoch": 3, "losses": [0.5, 0.25], "optimizer": {"state": {0: {"momentum": torch.ones(3)}}}}
    saved = checkpoint_of(net, names=NAMES, licence="CC0-1.0", training=history)
    save_checkpoint(tmp_path / "last.pt", saved)
    checkpoint = read_checkpoint(tmp_path / "last.pt", training=True)
    assert (checkpoint.names, checkpoint.licence) == (("cat", "dog"), "CC0-1.0")
    assert checkpoint.description == saved.description
    assert checkpoint.training["losses"] == [0.5, 0.25]
    assert as_tensors(checkpoint.training)["optimizer"]["state"][0]["momentum"].tolist() == [1, 1, 1]
    assert not read_checkpoint(tmp_path / "last.pt").training
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network_of(checkpoint)(images)[0], net(images)[0])
    # Anyone's torch reads it too, without executing anything.
    assert torch.load(tmp_path / "last.pt", weights_only=True)["names"] == NAMES


def test_save_refuses_what_is_not_plain(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(lively(), names=NAMES, training={"lambda": object()})
    with pytest.raises(TypeError, match="plain data"):
        save_checkpoint(tmp_path / "last.pt", checkpoint)
    assert not list(tmp_path.iterdir())


def test_save_on_a_full_disk_keeps_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = checkpoint_of(lively(), names=NAMES)
    save_checkpoint(tmp_path / "last.pt", checkpoint)
    before = (tmp_path / "last.pt").read_bytes()

    class FullDisk(io.FileIO):
        def write(self, data: object) -> int:
            if self.tell() > 100_000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)  # type: ignore[arg-type]

    def full(path: Path, mode: str) -> BinaryIO:
        return FullDisk(str(path), mode)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(EdgedError, match=r"cannot be written: No space left on device"):
        save_checkpoint(tmp_path / "last.pt", checkpoint)
    monkeypatch.undo()
    assert (tmp_path / "last.pt").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_read_official_weights(test_data: Path) -> None:
    checkpoint = read_checkpoint(test_data / "weights" / "yolov5n.pt")
    assert (checkpoint.description.size, checkpoint.description.release, len(checkpoint.names)) == ("n", "6", 80)
    assert checkpoint.names[:2] == ("person", "bicycle")
    assert checkpoint.description.anchors[0] == ((10.0, 13.0), (16.0, 30.0), (33.0, 23.0))
    assert sum(p.numel() for p in network_of(checkpoint).fused().parameters()) == 1_867_405
