"""Follows a graph's shapes, and what is computed from them, for one input size; the picture itself is not needed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import AttributeProto, TypeProto, helper, numpy_helper
from onnx.shape_inference import InferenceError, infer_node_outputs

from provisioning.graphs.rewriting import Values, evaluated, opset_of, reads, stored_constants

MAX_EVALUATED = 1 << 20  # elements of a tensor that is computed here
_MAX_SHOWN = 1 << 12  # elements of a tensor whose values inference is given
_ARITHMETIC = frozenset(
    {
        *(
            "Abs",
            "Add",
            "And",
            "Cast",
            "Ceil",
            "Concat",
            "ConstantOfShape",
            "Div",
            "Equal",
            "Expand",
            "Flatten",
            "Floor",
        ),
        *("Gather", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg"),
        *(
            "Not",
            "Or",
            "Range",
            "ReduceMax",
            "ReduceMin",
            "ReduceProd",
            "ReduceSum",
            "Reshape",
            "Shape",
            "Size",
            "Slice",
        ),
        *("Split", "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze", "Where"),
    }
)

Shape = tuple[int, ...]


class Shapes:
    """Shapes and values of a graph's tensors, learnt node by node.

    Attributes:
        shapes: of the tensors whose dimensions are all known.
        values: of the tensors that do not depend on the picture's content and are small.
    """

    def __init__(self, model: onnx.ModelProto, inputs: Mapping[str, Shape]) -> None:
        """Begin at the inputs.

        Args:
            model: the graph.
            inputs: shape of each input.
        """
        self._opsets, self._ir_version = model.opset_import, model.ir_version
        self._opset = opset_of(model)
        self.shapes: dict[str, Shape] = {}
        self.values: dict[str, Values] = {}
        self._types: dict[str, TypeProto] = {}
        for value in model.graph.input:
            if value.name in inputs:
                kind = value.type.tensor_type.elem_type
                self._learn_type(value.name, helper.make_tensor_type_proto(kind, inputs[value.name]))
        for name, stored in stored_constants(model.graph).items():
            self.learn(name, stored)

    def learn(self, name: str, value: Values) -> None:
        """Take note of a constant."""
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        self._learn_type(name, helper.make_tensor_type_proto(kind, value.shape))
        if value.size <= MAX_EVALUATED:
            self.values[name] = value

    def follow(self, node: onnx.NodeProto) -> None:
        """Find out the outputs of a node whose inputs were followed; what cannot be found out stays unknown.

        Raises:
            ValueError: its inputs do not fit together.
        """
        if node.op_type == "Constant":
            return
        given = [name for name in reads(node) if name]
        small = {name for name in given if name in self.values and self.values[name].size <= _MAX_SHOWN}
        if any(name not in self._types for name in node.input if name):
            return
        domain = "" if node.domain == "ai.onnx" else node.domain
        try:
            schema = onnx.defs.get_schema(node.op_type, self._opset, domain)
        except onnx.defs.SchemaError:
            return  # a plugin, or an operator of another opset
        try:
            made = infer_node_outputs(
                schema,
                node,
                {name: self._types[name] for name in given if name in self._types},
                {name: numpy_helper.from_array(self.values[name], name) for name in small},
                opset_imports=list(self._opsets),
                ir_version=self._ir_version,
            )
        except (InferenceError, onnx.checker.ValidationError) as exc:
            raise ValueError(str(exc).strip().splitlines()[0]) from exc
        for name, kind in made.items():
            if name:
                self._learn_type(name, kind)
        self._compute(node)

    def type_of(self, name: str) -> int:
        """The data type of a tensor, as ONNX numbers them; 0 if it is not known."""
        return self._types[name].tensor_type.elem_type if name in self._types else 0

    def _learn_type(self, name: str, kind: TypeProto) -> None:
        self._types[name] = kind
        dims = kind.tensor_type.shape.dim if kind.tensor_type.HasField("shape") else None
        if dims is not None and all(dim.HasField("dim_value") for dim in dims):
            self.shapes[name] = tuple(dim.dim_value for dim in dims)

    def _compute(self, node: onnx.NodeProto) -> None:
        """The values of an operator's outputs, where they follow from shapes and constants and are small."""
        outputs = [name for name in node.output if name]
        sizes = [math.prod(self.shapes[name]) if name in self.shapes else MAX_EVALUATED + 1 for name in outputs]
        if node.op_type not in _ARITHMETIC or max(sizes, default=0) > MAX_EVALUATED:
            return
        if any(attribute.type == AttributeProto.GRAPH for attribute in node.attribute):
            return
        if node.op_type in {"Shape", "Size"}:
            found: Sequence[Values] = self._measured(node)
        elif all(name in self.values for name in node.input if name):
            try:
                found = evaluated(node, [self.values[name] for name in node.input if name], self._opsets)
            except Exception:  # noqa: BLE001 - the reference's errors share no base; the values stay unknown
                return
        else:
            return
        for name, value in zip(outputs, found, strict=False):
            if value.shape == self.shapes[name]:
                self.values[name] = value

    def _measured(self, node: onnx.NodeProto) -> list[Values]:
        shape = self.shapes.get(node.input[0])
        if shape is None:
            return []
        if node.op_type == "Size":
            return [np.array(math.prod(shape), np.int64)]
        ends = {attribute.name: attribute.i for attribute in node.attribute}
        return [np.array(shape[ends.get("start", 0) : ends.get("end", len(shape))], np.int64)]
