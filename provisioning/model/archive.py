"""Reads torch's file format within limits: a zip with one pickle, and one record of raw numbers for each storage."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edged.core.errors import DataError
from provisioning.model.described import StorageRef, TensorRef, shown
from provisioning.model.folding import Array
from provisioning.model.inert import read_pickle

MAX_PICKLE_BYTES = 64 << 20
MAX_RECORDS = 100_000
MAX_NESTING = 32

_ZIP = b"PK\x03\x04"
_LEGACY = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")  # torch's magic number before 1.6
_ENCRYPTED = 0x1
_BFLOAT16 = "BFloat16Storage"
_DTYPES: dict[str, np.dtype[Any]] = {
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    _BFLOAT16: np.dtype("<u2"),  # numpy has no such type: read as bits, given as float32
    "DoubleStorage": np.dtype("<f8"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


class Archive:
    """An open checkpoint file: `root` is what its pickle describes, `tensor` reads the numbers of one tensor.

    The path is not in the messages; the caller adds it.

    Raises:
        DataError: the file is missing, empty, truncated, damaged, too large, or of another kind.
    """

    def __init__(self, path: Path) -> None:
        _refuse_other_kinds(path)
        self._size = path.stat().st_size
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as exc:
            raise DataError(
                f"truncated or damaged checkpoint of {self._size:,} bytes ({exc})", remedy="download it again"
            ) from exc
        try:
            self._infos = self._checked_records()
            self._prefix = self._find_prefix()
            blob = self._record("data.pkl", limit=MAX_PICKLE_BYTES)
            self.root = read_pickle(io.BytesIO(blob))
        except BaseException:
            self._zip.close()
            raise
        self._given = 0
        self._visited = 0

    def close(self) -> None:
        """Close the file; tensors already read stay valid."""
        self._zip.close()

    def tensor(self, ref: TensorRef) -> Array:
        """Read the tensor of a reference, contiguous, in memory of its own and the file's dtype; bfloat16 as float32.

        Raises:
            DataError: the element type is unknown, the record is missing or too short, the view reaches outside it, or
                the tensors read so far have more than twice as many numbers as the file has bytes.
        """
        self._check_view(ref)
        self._given += math.prod(ref.shape)
        if self._given > 2 * self._size:
            raise DataError("its tensors have more than twice as many numbers as the file has bytes; refused")
        return self.read(ref)

    def read(self, ref: TensorRef) -> Array:
        """As `tensor`, without a limit on all tensors together: for tensors of known names and shapes."""
        dtype = _DTYPES.get(ref.storage.dtype)
        if dtype is None:
            raise DataError(f"numbers of type {ref.storage.dtype}, which no YOLOv5 checkpoint has")
        self._check_view(ref)
        flat = self._storage(ref.storage, dtype)
        strides = [step * dtype.itemsize for step in ref.stride]
        view = np.lib.stride_tricks.as_strided(flat[ref.offset :], ref.shape, strides, writeable=False)
        if ref.storage.dtype == _BFLOAT16:  # the upper half of a float32
            return (view.astype(np.uint32) << 16).view(np.float32)
        return np.array(view, order="C")

    def plain(self, value: object, depth: int = 0) -> object:
        """A copy of containers, numbers and text in which each `TensorRef` is replaced by its tensor.

        Raises:
            DataError: as `tensor`, and for objects of other classes or too much nesting.
        """
        self._visited += 1
        if depth > MAX_NESTING or self._visited > MAX_RECORDS:
            raise DataError(f"data nested more than {MAX_NESTING} deep or of more than {MAX_RECORDS:,} items; refused")
        if isinstance(value, TensorRef):
            return self.tensor(value)
        if isinstance(value, dict):
            return {key: self.plain(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self.plain(item, depth + 1) for item in value)
        if value is None or isinstance(value, (bool, int, float, str, bytes)):
            return value
        raise DataError(f"expected plain data, got a {shown(value)}")

    def _checked_records(self) -> Mapping[str, zipfile.ZipInfo]:
        infos = self._zip.infolist()
        if len(infos) > MAX_RECORDS:
            raise DataError(f"{len(infos):,} records in the zip, at most {MAX_RECORDS:,} expected")
        # Checked before compression: a TorchScript file is partly compressed.
        if any(info.filename.count("/") == 1 and info.filename.endswith("/constants.pkl") for info in infos):
            raise DataError(
                "a TorchScript program, not a checkpoint",
                remedy="import the .pt that it was exported from, or an ONNX export",
            )
        if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & _ENCRYPTED for info in infos):
            raise DataError(
                "a compressed or encrypted zip; torch writes its checkpoints uncompressed",
                remedy="if the checkpoint was packed into a zip, unpack it first",
            )
        if sum(info.file_size for info in infos) > self._size:
            raise DataError("its records are larger than the file; refused")
        return {info.filename: info for info in infos}

    def _find_prefix(self) -> str:
        pickles = [name for name in self._infos if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickles) != 1:
            listing = ", ".join(map(shown, sorted(self._infos)[:3])) or "nothing"
            raise DataError(f"a zip, but no torch checkpoint (it holds {listing}, ...)")
        prefix = pickles[0].removesuffix("data.pkl")
        if f"{prefix}byteorder" in self._infos and self._zip.read(f"{prefix}byteorder") != b"little":
            raise DataError("written on a big-endian machine, which is not supported")
        return prefix

    def _record(self, name: str, *, limit: int) -> bytes:
        info = self._infos.get(self._prefix + name)
        if info is None:
            raise DataError(f"record {shown(name)} is missing", remedy="download the file again")
        if info.file_size > limit:
            raise DataError(f"record {shown(name)} has {info.file_size:,} bytes, expected at most {limit:,}")
        try:
            return self._zip.read(info)
        except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError) as exc:
            raise DataError(f"record {shown(name)} is damaged ({exc})", remedy="download the file again") from exc

    def _storage(self, ref: StorageRef, dtype: np.dtype[Any]) -> Array:
        """All elements of a storage, (count,)."""
        wanted = ref.count * dtype.itemsize
        blob = self._record(f"data/{ref.key}", limit=max(wanted, 1))
        if len(blob) != wanted or not wanted:
            raise DataError(f"storage {shown(ref.key)} has {len(blob):,} bytes, expected {wanted:,}")
        return np.frombuffer(blob, dtype)

    def _check_view(self, ref: TensorRef) -> None:
        sides = list(zip(ref.shape, ref.stride, strict=False))
        inside = (
            len(ref.shape) == len(ref.stride)
            and ref.offset >= 0
            and all(size >= 1 and stride >= 0 for size, stride in sides)
            and ref.offset + sum((size - 1) * stride for size, stride in sides) < ref.storage.count
            and math.prod(ref.shape) <= ref.storage.count
        )
        if not inside:
            raise DataError(f"a tensor of shape {ref.shape} reaches outside its storage {shown(ref.storage.key)}")


def _refuse_other_kinds(path: Path) -> None:
    """Refuse a file that is not a zip, and say what it is."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
            if not head.startswith(b"\x80") or head.startswith(_LEGACY):
                pickled = None
            else:
                file.seek(0)
                pickled = file.read(MAX_PICKLE_BYTES)
    except OSError as exc:
        raise DataError(f"cannot be read: {exc.strerror}", remedy="name a .pt or .onnx file") from exc
    if head.startswith(_ZIP):
        return
    if pickled is not None:
        read_pickle(io.BytesIO(pickled))  # raises if it is hostile or damaged
    raise DataError(_described(head), remedy="name a checkpoint (.pt) of YOLOv5 5.0 to 7.0")


def _described(head: bytes) -> str:
    """What a file that is no checkpoint seems to be, by its first bytes."""
    text = head.lstrip().lower()
    if not head:
        return "empty (0 bytes)"
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file itself; fetch that with: git lfs pull"
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page (HTML), not weights; the download was a login or error page"
    if head.startswith(_LEGACY):
        return (
            "a checkpoint in torch's format before 1.6, which is not read; load it with the torch that wrote it "
            "and save it again"
        )
    if head.startswith(b"\x80"):
        return "a bare pickle, not a torch checkpoint"
    return f"not a torch checkpoint (it starts with {head[:8]!r})"
