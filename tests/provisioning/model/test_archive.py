"""The archive: a tensor is read only where its view lies inside its storage."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from edged.core.errors import DataError
from provisioning.model.archive import Archive
from provisioning.model.described import StorageRef, TensorRef


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """A file with one storage of the numbers 0 to 11."""
    torch.save({"numbers": torch.arange(12, dtype=torch.float32)}, tmp_path / "x.pt")
    with contextlib.closing(Archive(tmp_path / "x.pt")) as opened:
        yield opened


def _ref(offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *, count: int = 12) -> TensorRef:
    return TensorRef(StorageRef("FloatStorage", "0", count), offset, shape, stride)


@pytest.mark.parametrize(
    ("offset", "shape", "stride"),
    [
        pytest.param(0, (12,), (1,), id="all"),
        pytest.param(11, (), (), id="scalar"),
        pytest.param(0, (4, 3), (1, 4), id="transposed"),
        pytest.param(3, (3, 2), (3, 2), id="every third"),
    ],
)
def test_tensor_agrees_with_torch(
    archive: Archive, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    expected = torch.as_strided(torch.arange(12, dtype=torch.float32), shape, stride, offset)
    got = archive.tensor(_ref(offset, shape, stride))
    np.testing.assert_array_equal(got, expected.numpy())
    assert got.flags.c_contiguous and got.flags.writeable and got.flags.owndata


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.int8, torch.bool])
def test_tensor_has_the_numbers_of_every_type(tmp_path: Path, dtype: torch.dtype) -> None:
    tensor = torch.tensor([[1.0, 0, -1.5], [3e4, 0.007, 100]]).to(dtype).t()
    torch.save({"numbers": tensor}, tmp_path / "x.pt")
    with contextlib.closing(Archive(tmp_path / "x.pt")) as opened:
        got = opened.plain(opened.root)
    assert isinstance(got, dict)
    as_numpy = tensor.float() if dtype is torch.bfloat16 else tensor
    np.testing.assert_array_equal(got["numbers"], as_numpy.numpy(), strict=True)


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        pytest.param(_ref(1, (12,), (1,)), "reaches outside", id="one beyond"),
        pytest.param(_ref(-1, (2,), (1,)), "reaches outside", id="before"),
        pytest.param(_ref(0, (3, 2), (5, 2)), "reaches outside", id="stride too wide"),
        pytest.param(_ref(0, (2,), (-1,)), "reaches outside", id="backwards"),
        pytest.param(_ref(0, (1 << 62, 2), (0, 0)), "reaches outside", id="expanded"),
        pytest.param(_ref(0, (2, 3), (1,)), "reaches outside", id="ragged"),
        pytest.param(_ref(0, (0,), (1,)), "reaches outside", id="empty"),
        pytest.param(_ref(0, (13,), (1,), count=13), "48 bytes, expected 52", id="storage too short"),
        pytest.param(_ref(0, (2,), (1,), count=2), "expected at most 8", id="storage too long"),
        pytest.param(_ref(0, (2,), (1,), count=-4), "reaches outside", id="negative count"),
        pytest.param(
            TensorRef(StorageRef("FloatStorage", "9", 4), 0, (4,), (1,)), "data/9' is missing", id="no record"
        ),
        pytest.param(TensorRef(StorageRef("FloatStorage", "../data.pkl", 4), 0, (4,), (1,)), "missing", id="path"),
        pytest.param(TensorRef(StorageRef("QInt8Storage", "0", 4), 0, (4,), (1,)), "QInt8Storage", id="type"),
    ],
)
def test_tensor_refuses(archive: Archive, ref: TensorRef, message: str) -> None:
    with pytest.raises(DataError, match=message):
        archive.tensor(ref)


def test_tensors_together_are_bounded(archive: Archive) -> None:
    refs = [_ref(0, (12,), (1,))] * 1000
    with pytest.raises(DataError, match="more than twice as many numbers as the file has bytes"):
        archive.plain(refs)


def test_plain_refuses_shared_lists_without_end(archive: Archive) -> None:
    level: object = [1]
    for _ in range(30):
        level = [level, level]
    with pytest.raises(DataError, match="items; refused"):
        archive.plain(level)
