"""Appends the decode as one `YoloLayer_TRT` node to a model whose outputs are sigmoided heads.

plugins/yolo_layer/README.md describes its inputs, outputs and attributes. It is appended as the last step, because
exporters, quantisers and ONNX Runtime refuse operators that they do not know.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from edged.core.decode import GridDecode
from edged.core.errors import DataError
from plugins.yolo_layer.contract import NAMESPACE, OPERATOR, OUTPUTS, VERSION, YoloLayer

NODE_NAME = "YoloLayer"
_RANK = 4
_TYPES = (np.float32, np.float16)


def patch(
    model: onnx.ModelProto,
    *,
    decode: GridDecode,
    num_classes: int,
    prenms_score_threshold: float,
) -> onnx.ModelProto:
    """A copy of `model` with the decode node, whose outputs are the model's outputs.

    Args:
        model: heads `p3`, `p4` and so on, each (B, anchors * (5 + classes), H/stride, W/stride) float32 or float16,
            sigmoided.
        decode: anchors and strides of its heads.
        num_classes: number of classes.
        prenms_score_threshold: 0..1 (1 excluded), built into every engine of the result; lower scores are not reported.

    Returns:
        The patched model. Outputs: int32 (B, 1) count, float32 (B, N, 4) boxes, float32 (B, N) scores, int32 (B, N)
        classes; N is one box for each anchor of each cell.

    Raises:
        DataError: the heads do not fit anchors, strides and classes, or the model has the node already.
    """
    if any(node.op_type == OPERATOR for node in model.graph.node):
        raise DataError(f"the model holds a {OPERATOR} node already", remedy="patch the model.onnx of a bundle")
    layer = _layer(decode, num_classes, prenms_score_threshold)
    graph = gs.import_onnx(model)
    heads = _checked_heads(graph, decode, num_classes)
    batch = heads[0].shape[0]
    count = sum(layer.anchors_per_head * head.shape[2] * head.shape[3] for head in heads)
    shapes = ([batch, 1], [batch, count, 4], [batch, count], [batch, count])
    types = (np.int32, np.float32, np.float32, np.int32)
    outputs = [gs.Variable(name, dtype, shape) for name, dtype, shape in zip(OUTPUTS, types, shapes, strict=True)]
    attributes = {
        "max_stride": layer.max_stride,
        "num_classes": layer.num_classes,
        "anchors": list(layer.anchors),
        "prenms_score_threshold": layer.threshold,
        "num_heads": layer.heads,
        "plugin_version": VERSION,
        "plugin_namespace": NAMESPACE,
    }
    graph.nodes.append(gs.Node(OPERATOR, NODE_NAME, attributes, heads, outputs, domain=NAMESPACE))
    graph.outputs = outputs
    return _exported(graph, model)


def _layer(decode: GridDecode, num_classes: int, threshold: float) -> YoloLayer:
    try:
        return YoloLayer.of(decode, classes=num_classes, threshold=threshold)
    except ValueError as exc:
        raise DataError(str(exc)) from exc


def _checked_heads(graph: gs.Graph, decode: GridDecode, num_classes: int) -> list[gs.Variable]:
    names = tuple(tensor.name for tensor in graph.outputs)
    if names != decode.outputs or len(graph.inputs) != 1:
        raise DataError(
            f"expected one input and the outputs {', '.join(decode.outputs)}, got outputs {', '.join(names)}"
        )
    height, width = graph.inputs[0].shape[2:]
    shapes = decode.output_shapes(classes=num_classes, input_wh=(width, height))
    for tensor, wanted in zip(graph.outputs, shapes, strict=True):
        got = list(tensor.shape or [])
        if len(got) != _RANK or got[1:] != list(wanted) or tensor.dtype not in _TYPES:
            raise DataError(
                f"head {tensor.name}: expected float32 or float16 (B, {', '.join(map(str, wanted))}) "
                f"for {num_classes} classes, got {tensor.dtype} {got}",
                remedy="anchors, strides and classes must be those of this very model",
            )
    return list(graph.outputs)


def _exported(graph: gs.Graph, source: onnx.ModelProto) -> onnx.ModelProto:
    opsets = [onnx.helper.make_opsetid(entry.domain, entry.version) for entry in source.opset_import]
    opsets.append(onnx.helper.make_opsetid(NAMESPACE, int(VERSION)))
    patched: onnx.ModelProto = gs.export_onnx(graph, opset_imports=opsets)
    patched.ir_version = source.ir_version
    patched.metadata_props.extend(source.metadata_props)  # graphsurgeon drops them
    onnx.checker.check_model(patched)
    return patched
