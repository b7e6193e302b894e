"""Weights beside the ONNX file are read; whatever else a file names is not touched."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from onnx.external_data_helper import set_external_data

from edged.core.errors import DataError
from provisioning.cut.graph import read_onnx
from provisioning.cut.outside import sha256_with_outside, take_in_weights
from tests.provisioning.networks import lively, onnx_of

DATA = "model.onnx.data"


@pytest.fixture(scope="module")
def whole() -> onnx.ModelProto:
    return onnx.load_model_from_string(onnx_of(lively(), input_wh=(96, 64), names=("cat", "dog")))


@pytest.fixture
def folder(whole: onnx.ModelProto, tmp_path: Path) -> Path:
    """A folder with the network as `model.onnx` and its weights in a file beside it, as torch's exporter leaves it."""
    twin = onnx.ModelProto()
    twin.CopyFrom(whole)
    target = tmp_path / "models"
    target.mkdir()
    onnx.save_model(twin, target / "model.onnx", save_as_external_data=True, location=DATA, size_threshold=0)
    return target


def _stored(model: onnx.ModelProto) -> dict[str, list[float]]:
    return {tensor.name: numpy_helper.to_array(tensor).ravel().tolist() for tensor in model.graph.initializer}


def _changed(folder: Path, change: Callable[[TensorProto], None]) -> bytes:
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    change(max(model.graph.initializer, key=lambda tensor: int(np.prod(tensor.dims))))
    content: bytes = model.SerializeToString()
    return content


def _says(**said: str) -> Callable[[TensorProto], None]:
    def change(tensor: TensorProto) -> None:
        kept = {entry.key: entry.value for entry in tensor.external_data} | said
        tensor.ClearField("external_data")
        for key, value in kept.items():
            if value != "left out":
                tensor.external_data.add(key=key, value=value)

    return change


@pytest.mark.parametrize("one_file", [True, False])
def test_weights_beside_the_file(whole: onnx.ModelProto, tmp_path: Path, *, one_file: bool) -> None:
    twin = onnx.ModelProto()
    twin.CopyFrom(whole)
    file = tmp_path / "model.onnx"
    onnx.save_model(
        twin,
        file,
        save_as_external_data=True,
        all_tensors_to_one_file=one_file,
        location=DATA if one_file else None,
        size_threshold=100,
    )
    assert len(list(tmp_path.iterdir())) == 2 if one_file else len(list(tmp_path.iterdir())) > 50
    read = read_onnx(file.read_bytes(), folder=tmp_path)
    assert _stored(read) == _stored(whole)
    assert not any(tensor.data_location or tensor.external_data for tensor in read.graph.initializer)
    with pytest.raises(DataError, match=r"weights outside the file .*; refused; export it as a single file"):
        read_onnx(file.read_bytes())


def test_weights_by_way_of_a_link_within_the_folder(whole: onnx.ModelProto, folder: Path) -> None:
    (folder / DATA).rename(folder / "blob")
    (folder / DATA).symlink_to("blob")
    assert _stored(read_onnx((folder / "model.onnx").read_bytes(), folder=folder)) == _stored(whole)


def test_weights_without_a_stated_length(whole: onnx.ModelProto, folder: Path) -> None:
    content = _changed(folder, _says(length="left out"))
    assert _stored(read_onnx(content, folder=folder)) == _stored(whole)


def _grown(tensor: TensorProto) -> None:
    """Numbers for 4 TiB, as its place says, too."""
    tensor.dims[:] = [1 << 40]
    _says(length=str(1 << 42))(tensor)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(_says(location="../secret"), "only a file beside the ONNX file is read", id="parent"),
        pytest.param(_says(location="inner/../../secret"), "only a file beside", id="parent further on"),
        pytest.param(_says(location="/etc/hostname"), "'/etc/hostname': only a file beside", id="absolute"),
        pytest.param(_says(location="inner/weights"), "only a file beside", id="folder within"),
        pytest.param(_says(location=""), "only a file beside", id="empty"),
        pytest.param(_says(location="left out"), "only a file beside", id="no file"),
        pytest.param(_says(location=".."), "only a file beside", id="the parent itself"),
        pytest.param(_says(location="."), "only a file beside", id="the folder itself"),
        pytest.param(_says(location="a\0b"), "only a file beside", id="zero byte"),
        pytest.param(_says(location="x" * 300), "File name too long", id="long name"),
        pytest.param(_says(location="inner"), "no regular file", id="a folder"),
        pytest.param(_says(location="fifo"), "no regular file; refused", id="fifo"),
        pytest.param(_says(location="link"), "a link out of the folder; refused; copy it", id="link out"),
        pytest.param(_says(location="circle"), "circle cannot be read", id="links in a circle"),
        pytest.param(_says(location="away"), "away cannot be read: No such file", id="missing"),
        pytest.param(_says(offset="99999999"), r"lie at bytes 99,999,999 to .*, which has .*truncated", id="offset"),
        pytest.param(_says(offset="-4"), "offset and length '-4' and", id="negative offset"),
        pytest.param(_says(offset="9" * 19), "lie at bytes 9,999,999", id="offset of 64 bits"),
        pytest.param(_says(offset="9" * 30), "offset and length '99", id="offset beyond 64 bits"),
        pytest.param(_says(offset="\u00b2"), "offset and length", id="no digit"),
        pytest.param(_says(length="8"), "have 8 bytes in another file, their shape needs", id="short"),
        pytest.param(_says(length="9" * 18), "have 999,999,999,999,999,999 bytes", id="huge length"),
        pytest.param(_grown, "at most .* fit into one ONNX file of 2 GiB", id="huge weights"),
        pytest.param(lambda tensor: tensor.dims.append(-1), r"have the shape \[", id="negative shape"),
        pytest.param(lambda tensor: setattr(tensor, "data_type", 8), "data type 8, which is not read", id="text"),
        pytest.param(lambda tensor: setattr(tensor, "data_type", 99), "data type 99", id="unknown type"),
    ],
)
def test_weights_elsewhere_are_refused(folder: Path, change: Callable[[TensorProto], None], message: str) -> None:
    (folder.parent / "secret").write_bytes(bytes(1 << 20))
    (folder / "link").symlink_to("../secret")
    (folder / "circle").symlink_to("circle")
    (folder / "inner").mkdir()
    (folder / "inner" / "weights").write_bytes(bytes(1 << 20))
    os.mkfifo(folder / "fifo")
    with pytest.raises(DataError, match=message):
        read_onnx(_changed(folder, change), folder=folder)


def test_a_truncated_file_of_weights(folder: Path) -> None:
    os.truncate(folder / DATA, (folder / DATA).stat().st_size - 1)
    with pytest.raises(DataError, match=r"of model.onnx.data, which has .*; it is truncated, or belongs to another"):
        read_onnx((folder / "model.onnx").read_bytes(), folder=folder)


def test_one_region_for_many_weights_counts_each_time(folder: Path) -> None:
    """A small file must not become a large model."""
    model = onnx.ModelProto()
    for number in range(100):
        tensor = model.graph.initializer.add(name=f"w{number}", dims=[1000], data_type=TensorProto.FLOAT)
        tensor.raw_data = b""
        set_external_data(tensor, DATA, offset=0, length=4000)
    with pytest.raises(DataError, match=r"have 400,000 bytes, at most 399,999 fit"):
        take_in_weights(model, folder, room=399_999)
    take_in_weights(model, folder, room=400_000)
    assert len(model.graph.initializer[99].raw_data) == 4000


def test_the_hash_is_that_of_all_files(folder: Path, whole: onnx.ModelProto) -> None:
    content = (folder / "model.onnx").read_bytes()
    before = sha256_with_outside(content, folder)
    assert before != hashlib.sha256(content).hexdigest()
    with (folder / DATA).open("r+b") as file:
        file.write(b"changed")
    assert sha256_with_outside(content, folder) != before
    (folder / DATA).unlink()
    with pytest.raises(DataError, match=f"its weights {DATA} cannot be read: No such file"):
        sha256_with_outside(content, folder)
    alone = whole.SerializeToString()
    assert sha256_with_outside(alone, folder) == hashlib.sha256(alone).hexdigest()
    assert sha256_with_outside(b"no ONNX", folder) == hashlib.sha256(b"no ONNX").hexdigest()
