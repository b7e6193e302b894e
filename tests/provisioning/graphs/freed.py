"""A graph whose nodes `Freeing` mended, for the tests of single nodes: importers prove their own whole graphs."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import TensorProto, helper

from provisioning.graphs.batch_nodes import Freeing
from provisioning.graphs.rewriting import drop_unused


def with_free_batch(model: onnx.ModelProto, tensors: Sequence[str], *, input_wh: tuple[int, int]) -> onnx.ModelProto:
    """The part of a graph from its one input to some tensors, for any number of pictures (B, 3, H, W)."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.output[:]
    part.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in tensors)
    drop_unused(part.graph)
    weights = {tensor.name for tensor in part.graph.initializer}
    [picture] = [value for value in part.graph.input if value.name not in weights]
    batch = picture.type.tensor_type.shape.dim[0].dim_value or 1
    freeing = Freeing(part, picture.name, (batch, 3, *input_wh[::-1]))
    freeing.mend_nodes()
    freed = freeing.finish()
    del freed.graph.input[:], freed.graph.output[:]
    freed.graph.input.append(
        helper.make_tensor_value_info(picture.name, TensorProto.FLOAT, ["batch", 3, *input_wh[::-1]])
    )
    for name in tensors:
        kind, shape = freeing.one.type_of(name) or TensorProto.FLOAT, freeing.one.shapes[name]
        freed.graph.output.append(helper.make_tensor_value_info(name, kind, ["batch", *shape[1:]]))
    return freed
