"""Describes a model's graph in a short text table, in place of a graph viewer."""

from __future__ import annotations

from collections import Counter

import onnx
from onnx import AttributeProto, TensorProto, helper

_SHOWN_OPERATORS = 12
_SHOWN_NUMBERS = 6


def graph_table(model: onnx.ModelProto) -> str:
    """One line each: opset, inputs, operators by count, the last node with its attributes, outputs."""
    graph = model.graph
    opsets = ", ".join(f"{entry.domain or 'ai.onnx'} {entry.version}" for entry in model.opset_import)
    rows = [("opset", opsets)]
    rows += [("input", _tensor(value)) for value in graph.input]
    rows.append(("nodes", _operators(graph)))
    rows += [("last", line) for line in _last_node(graph)]
    rows += [("output", _tensor(value)) for value in graph.output]
    return "\n".join(f"{label:<8}{text}" for label, text in rows)


def before_and_after(before: onnx.ModelProto, after: onnx.ModelProto) -> str:
    """The tables of both models, each below its title."""
    return f"before\n{_indented(graph_table(before))}\nafter\n{_indented(graph_table(after))}"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _tensor(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    dims = ", ".join(dim.dim_param or str(dim.dim_value) for dim in tensor.shape.dim)
    return f"{value.name} {TensorProto.DataType.Name(tensor.elem_type).lower()} [{dims}]"


def _operators(graph: onnx.GraphProto) -> str:
    counts = Counter(node.op_type for node in graph.node).most_common()
    shown = ", ".join(f"{name} {count}" for name, count in counts[:_SHOWN_OPERATORS])
    rest = sum(count for _, count in counts[_SHOWN_OPERATORS:])
    return f"{len(graph.node)}: {shown}" + (f", others {rest}" if rest else "")


def _last_node(graph: onnx.GraphProto) -> list[str]:
    if not graph.node:
        return []
    node = graph.node[-1]
    operator = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
    lines = [f"{operator} {node.name}({', '.join(node.input)}) -> {', '.join(node.output)}"]
    return lines + [f"  {attribute.name} = {_attribute(attribute)}" for attribute in node.attribute]


def _attribute(attribute: AttributeProto) -> str:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return repr(value.decode("utf-8", "replace"))
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)) or hasattr(value, "__len__"):
        numbers = [f"{number:g}" if isinstance(number, float) else str(number) for number in value]
        more = f", ... ({len(numbers)})" if len(numbers) > _SHOWN_NUMBERS else ""
        return f"[{', '.join(numbers[:_SHOWN_NUMBERS])}{more}]"
    return str(value)
