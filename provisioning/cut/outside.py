"""Weights that an ONNX file keeps in other files: read from the folder that the caller names, else refused."""

from __future__ import annotations

import hashlib
import math
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from edged.core.errors import DataError
from provisioning.files import stream_sha256

_FOUR_BITS = {TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT4E2M1}
_NO_NUMBERS = {TensorProto.UNDEFINED, TensorProto.STRING}
_ONE_FILE = "export it as a single file"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tensor's bytes are.

    Attributes:
        file: name of a file in the folder.
        offset: of its first byte.
        length: in bytes.
    """

    file: str
    offset: int
    length: int


def take_in_weights(model: onnx.ModelProto, folder: Path | None, *, room: int) -> None:
    """Read the weights that lie in other files into the model, in place.

    Args:
        model: as parsed, not checked.
        folder: the only folder whose files may be read; None: no other file is read.
        room: bytes that the weights may have in all.

    Raises:
        DataError: weights lie elsewhere than in a plain file of this folder, their place is not inside the file, their
            size is not that of their shape, or they are too large; or the model has sparse weights.
    """
    tensors = [tensor for tensor in _all_tensors(model) if tensor.data_location == TensorProto.EXTERNAL]
    if tensors and folder is None:
        raise DataError(
            f"weights outside the file ({tensors[0].name or 'without a name'} and {len(tensors) - 1} more); refused",
            remedy=_ONE_FILE,
        )
    if model.graph.sparse_initializer:
        raise DataError("weights stored as sparse tensors, which are not read", remedy="export it with plain weights")
    if folder is None or not tensors:
        return
    places = [_place(tensor) for tensor in tensors]
    total = sum(place.length for place in places)
    if total > room:
        raise DataError(
            f"its weights in other files have {total:,} bytes, at most {room:,} fit into one ONNX file of 2 GiB"
        )
    with ExitStack() as opened:
        files: dict[str, int] = {}
        for tensor, place in zip(tensors, places, strict=True):
            if place.file not in files:
                files[place.file] = _opened(folder, place.file)
                opened.callback(os.close, files[place.file])
            tensor.raw_data = _content(files[place.file], place, tensor.name)
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")


def sha256_with_outside(content: bytes, folder: Path) -> str:
    """The SHA-256 of an ONNX file; where its weights lie in other files, one over the hashes of all of them.

    Args:
        content: of the file; what is no ONNX file is hashed as it is.
        folder: where it lies.

    Raises:
        DataError: a file that it names may not be read, or is not there.
    """
    own = hashlib.sha256(content).hexdigest()
    try:
        model = onnx.load_model_from_string(content)
    except Exception:  # noqa: BLE001 - protobuf's DecodeError is of another class in each of its implementations
        return own
    outside = {
        entry.value
        for tensor in _all_tensors(model)
        if tensor.data_location == TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    hashes = [own]
    for name in sorted(outside):
        with open(_opened(folder, name), "rb") as file:
            hashes.append(stream_sha256(file))
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest() if outside else own


def _place(tensor: TensorProto) -> _Place:
    said = {entry.key: entry.value for entry in tensor.external_data}
    needed = _bytes_needed(tensor)
    numbers = [said.get("offset", "0"), said.get("length", str(needed))]
    if not all(number.isascii() and number.isdigit() and len(number) < 20 for number in numbers):  # noqa: PLR2004 (64 bits)
        stated = " and ".join(repr(number[:40]) for number in numbers)
        raise DataError(
            f"weights {tensor.name} have offset and length {stated} in another file, expected whole numbers"
        )
    offset, length = map(int, numbers)
    if length != needed:
        raise DataError(f"weights {tensor.name} have {length:,} bytes in another file, their shape needs {needed:,}")
    return _Place(said.get("location", ""), offset, length)


def _bytes_needed(tensor: TensorProto) -> int:
    count: int = math.prod(tensor.dims)
    if count < 0 or min(tensor.dims, default=0) < 0:
        raise DataError(f"weights {tensor.name} have the shape {list(tensor.dims)}")
    if tensor.data_type in _FOUR_BITS:
        return -(-count // 2)
    if tensor.data_type not in TensorProto.DataType.values() or tensor.data_type in _NO_NUMBERS:
        raise DataError(f"weights {tensor.name} are of data type {tensor.data_type}, which is not read")
    size: int = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return count * size


def _opened(folder: Path, name: str) -> int:
    """A descriptor of a file for reading. Only a plain file in the folder itself is opened, also by way of a link."""
    if "\0" in name or name == ".." or Path(name).parts != (Path(name).name,):
        raise DataError(
            f"weights in {name[:200]!r}: only a file beside the ONNX file is read",
            remedy=f"put it there and name it without a folder, or {_ONE_FILE}",
        )
    beside = f"put it beside the ONNX file, or {_ONE_FILE}"
    try:
        path = (folder / name).resolve(strict=True)
        if path.parent != folder.resolve():
            raise DataError(f"its weights {name} are a link out of the folder; refused", remedy=f"copy it: {beside}")
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO waits otherwise
    except (OSError, RuntimeError) as exc:  # RuntimeError: links in a circle, before Python 3.13
        reason = exc.strerror if isinstance(exc, OSError) else str(exc)
        raise DataError(f"its weights {name} cannot be read: {reason}", remedy=beside) from exc
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DataError(f"its weights {name} are no regular file; refused", remedy=beside)
    return descriptor


def _content(descriptor: int, place: _Place, tensor: str) -> bytes:
    size = os.fstat(descriptor).st_size
    parts, offset, end = list[bytes](), place.offset, place.offset + place.length
    while end <= size and offset < end:
        part = os.pread(descriptor, end - offset, offset)  # Linux gives at most 2 GiB at once
        if not part:
            break
        parts.append(part)
        offset += len(part)
    if offset != end:
        raise DataError(
            f"weights {tensor} lie at bytes {place.offset:,} to {end:,} of {place.file}, which has {size:,}",
            remedy="it is truncated, or belongs to another ONNX file: copy both again",
        )
    return b"".join(parts)


def _all_tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    yield from _kept_in(model.graph)
    yield from (tensor for function in model.functions for node in function.node for tensor in _stored(node))


def _kept_in(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """Every tensor stored in a graph and in the subgraphs of its nodes."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _stored(node)


def _stored(node: onnx.NodeProto) -> Iterator[TensorProto]:
    for attribute in node.attribute:  # fields that are not set are empty
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g, *attribute.graphs):
            yield from _kept_in(graph)
