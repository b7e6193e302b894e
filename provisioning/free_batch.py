"""Makes a graph that was exported for one batch size take any: constant shapes give way to the size of the input.

What the result computes is proved by running it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from edged.core.errors import DataError
from edged.core.types import Floats
from edged.cpu.session import open_session
from provisioning.batch_nodes import Freeing, one_size_only
from provisioning.rewriting import drop_unused
from provisioning.shapes import Shape, Shapes

MAX_DIFFERENCE = 1e-4  # of an output's largest value: another order of sums, nothing more
_RANK = 4
_FATAL_ONLY = 4  # ONNX Runtime's severity


def with_free_batch(model: onnx.ModelProto, tensors: Sequence[str], *, input_wh: tuple[int, int]) -> onnx.ModelProto:
    """The part of a graph from the picture to some tensors, for any number of pictures of one size.

    `Resize` gets constant scales, `Reshape` constant shapes that leave the batch free, and what only computes shapes
    is gone. Two different pictures in a batch give what each gives alone; this is checked by running them.

    Args:
        model: float32, with one input (B, C, H, W); dimensions may be fixed or free.
        tensors: names of tensors of the graph, which become its outputs: (B, ...).
        input_wh: network input (width, height), pixels.

    Raises:
        DataError: the graph cannot be run with this size, or it cannot be made to take several pictures exactly.
    """
    part = _leading_to(model, tensors)
    picture, taken = _picture(part, input_wh)
    freeing = Freeing(part, picture, taken)
    freeing.mend_nodes()
    freed = freeing.finish()
    _declare(freed, picture, taken, freeing.one)
    _prove(part, freed, picture, taken)
    return freed


def _leading_to(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.output[:]
    part.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in tensors)
    drop_unused(part.graph)
    return part


def _picture(model: onnx.ModelProto, input_wh: tuple[int, int]) -> tuple[str, Shape]:
    """Name and shape of the only input, with the batch size that the graph was made for, or 1."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    dims = [[dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in inputs]
    if len(inputs) != 1 or len(dims[0]) != _RANK:
        raise DataError(f"expected one input (B, 3, H, W), got {dims}")
    batch, channels, height, width = dims[0]
    if (width or input_wh[0], height or input_wh[1]) != input_wh:
        raise DataError(f"made for pictures of {width}x{height}, not of {input_wh[0]}x{input_wh[1]}")
    return inputs[0].name, (batch or 1, channels or 3, input_wh[1], input_wh[0])


def _declare(model: onnx.ModelProto, picture: str, taken: Shape, seen: Shapes) -> None:
    """State types and shapes of inputs and outputs, in place, with a free batch."""
    outputs = [value.name for value in model.graph.output]
    del model.graph.input[:], model.graph.output[:]
    model.graph.input.append(helper.make_tensor_value_info(picture, TensorProto.FLOAT, ["batch", *taken[1:]]))
    for name in outputs:
        shape = seen.shapes.get(name)
        dims: list[str | int | None] | None = None if shape is None else ["batch", *shape[1:]]
        model.graph.output.append(helper.make_tensor_value_info(name, seen.type_of(name) or TensorProto.FLOAT, dims))


def _prove(model: onnx.ModelProto, freed: onnx.ModelProto, picture: str, taken: Shape) -> None:
    """Run two different pictures through both graphs, each alone through the original."""
    pictures = np.random.default_rng(0).random((2, *taken[1:]), np.float32)
    pictures[1] *= 255  # of another range, for graphs that expect it
    names = [value.name for value in model.graph.output]
    original = open_session(model.SerializeToString(), threads=1, where="the model")
    try:
        apart = [original.run(names, {picture: np.stack([each] * taken[0])}, _quiet()) for each in pictures]
    except Exception as exc:  # ONNX Runtime's exceptions share no base below Exception
        raise DataError(f"does not run on a picture of {taken[3]}x{taken[2]}: {_line(exc)}") from exc
    try:
        session = open_session(freed.SerializeToString(), threads=1, where="the model")
        together = session.run(names, {picture: pictures}, _quiet())
    except Exception as exc:
        raise one_size_only(_line(exc)) from exc
    for place, (name, both) in enumerate(zip(names, together, strict=True)):
        for which, alone in enumerate(values[place] for values in apart):
            _require_equal(name, np.asarray(alone), np.asarray(both), which=which, batch=taken[0])


def _quiet() -> ort.RunOptions:
    """Options of a run that may fail: its error becomes a message, and is not logged, too."""
    options = ort.RunOptions()
    options.log_severity_level = _FATAL_ONLY
    return options


def _require_equal(name: str, alone: Floats, both: Floats, *, which: int, batch: int) -> None:
    if alone.shape[:1] != (batch,):
        raise one_size_only(f"output {name} has the shape {alone.shape}, without an axis for pictures")
    shape = (2, *alone.shape[1:])
    if both.shape != shape:
        raise one_size_only(f"for two pictures output {name} has the shape {both.shape}, expected {shape}")
    difference = np.abs(both[which].astype(np.float64) - alone[0])
    limit = MAX_DIFFERENCE * max(1.0, float(np.abs(alone[0]).max(initial=0)))
    if not float(np.max(difference, initial=0)) <= limit:
        raise one_size_only(f"output {name} of a picture changes by {difference.max():.2g} where another is beside it")


def _line(exc: Exception) -> str:
    return " ".join(str(exc).split())[:300]
