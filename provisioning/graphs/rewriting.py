"""A graph being rewritten: who makes and reads each tensor, what is constant, and edits that keep names unique."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import AttributeProto, OperatorSetIdProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

KEEPS_SIZE = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"})


_NUMBERS = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}

Values = npt.NDArray[Any]


def reads(node: onnx.NodeProto) -> set[str]:
    """Names of the tensors that a node and its subgraphs read."""
    inner = [attribute.g for attribute in node.attribute if attribute.type == AttributeProto.GRAPH]
    return set(node.input) | {name for graph in inner for each in graph.node for name in reads(each)}


def sort_nodes(model: onnx.ModelProto) -> None:
    """Sort the nodes in place so that each follows those that it reads from; a graph with a cycle is left as it is."""
    nodes = list(model.graph.node)
    maker = {name: place for place, node in enumerate(nodes) for name in node.output if name}
    before = {place: sorted({maker[name] for name in reads(node) & maker.keys()}) for place, node in enumerate(nodes)}
    if all(first < place for place, firsts in before.items() for first in firsts):
        return
    try:
        order = list(TopologicalSorter(before).static_order())
    except CycleError:
        return
    del model.graph.node[:]
    model.graph.node.extend(nodes[place] for place in order)


def opset_of(model: onnx.ModelProto) -> int:
    """The version of the standard operators that a model uses."""
    return next((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), 1)


def stored_constants(graph: onnx.GraphProto) -> dict[str, Values]:
    """The values of weights and `Constant` nodes, by tensor name."""
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.name == "value":
                found[node.output[0]] = numpy_helper.to_array(attribute.t)
            elif attribute.name in _NUMBERS:
                value = helper.get_attribute_value(attribute)
                found[node.output[0]] = np.array(value, _NUMBERS[attribute.name])
    return found


def drop_unused(graph: onnx.GraphProto) -> None:
    """Remove, in place, the nodes and weights that no output needs."""
    wanted, kept = {value.name for value in graph.output}, list[onnx.NodeProto]()
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted |= reads(node)
            kept.append(node)
    weights = [tensor for tensor in graph.initializer if tensor.name in wanted]
    del graph.node[:]
    graph.node.extend(kept[::-1])
    del graph.initializer[:]
    graph.initializer.extend(weights)


def rename_tensors(graph: onnx.GraphProto, sources: Mapping[str, str]) -> None:
    """Let every reader of a tensor read its source instead, in place, in subgraphs too; chains are followed.

    Graph outputs keep their names: the node that makes the source makes the output, or an `Identity` does.
    """
    makers = {name: node for node in graph.node for name in node.output}
    outputs = [value.name for value in graph.output]
    renamed, copied = dict(sources), dict[str, str]()
    for name in outputs:
        source = _source(name, renamed)
        if source == name:
            continue
        del renamed[name]
        if source in makers and source not in outputs:
            node = makers[source]
            node.output[list(node.output).index(source)] = name
            renamed[source] = name
        else:
            copied[name] = source
    _rename_reads(graph, renamed)
    graph.node.extend(helper.make_node("Identity", [source], [name]) for name, source in copied.items())


def _rename_reads(graph: onnx.GraphProto, sources: Mapping[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [_source(name, sources) for name in node.input]
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                _rename_reads(attribute.g, sources)


def _source(name: str, sources: Mapping[str, str]) -> str:
    while name in sources:
        name = sources[name]
    return name


class Rewriting:
    """Edits of a copy of a model. Tables are those of the original: nodes that were added are not in them.

    Attributes:
        model: the copy.
        maker: the node that makes each tensor.
        users: the nodes that read each tensor, in the graph's order; one that reads it in a subgraph, too.
        outputs: names of the graph's outputs.
        stored: values of weights and `Constant` nodes, by tensor name.
        inputs: names of the graph's inputs, without those that only give a weight a name.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        graph = self.model.graph
        self.maker = {name: node for node in graph.node for name in node.output if name}
        self.users: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in sorted(reads(node)):
                self.users.setdefault(name, []).append(node)
        self.stored = stored_constants(graph)
        self._constants: dict[str, Values | None] = {**self.stored}
        self.outputs = {value.name for value in graph.output}
        self.inputs = {value.name for value in graph.input} - self._constants.keys()
        self._taken = {*self.maker, *self.users, *self._constants, *self.outputs, *self.inputs}
        self._renamed: dict[str, str] = {}
        self._dropped: set[str] = set()
        self._added: list[onnx.NodeProto] = []

    def constant(self, name: str) -> Values | None:
        """The value of a stored tensor, or of one that only nodes which keep its size lie behind; else None."""
        if name not in self._constants:
            self._constants[name] = None  # also ends a cycle
            node = self.maker.get(name)
            values = [self.constant(each) for each in node.input] if node and node.op_type in KEEPS_SIZE else []
            known = [value for value in values if value is not None]
            if node and values and len(known) == len(values):
                with suppress(Exception):  # the reference's errors share no base below it; a constant that is none
                    self._constants[name] = evaluated(node, known, self.model.opset_import)[0]
        return self._constants[name]

    def fresh(self, name: str) -> str:
        """A tensor name like `name` that nothing in the graph has yet."""
        number, found = 1, name
        while found in self._taken:
            number, found = number + 1, f"{name}{number}"
        self._taken.add(found)
        return found

    def store(self, name: str, value: Values) -> str:
        """Add a weight with a name like `name`, which is returned."""
        stored = self.fresh(name)
        self.model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), stored))
        return stored

    def add(
        self, kind: str, inputs: Sequence[str], output: str, *, like: onnx.NodeProto | None = None, **attributes: float
    ) -> None:
        """Add a node; with `like` it takes over that node's name and attributes."""
        node = helper.make_node(kind, inputs, [output], name=like.name if like else "")
        node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
        node.attribute.extend(like.attribute if like else ())
        self._added.append(node)

    def adopt(self, nodes: Sequence[onnx.NodeProto]) -> None:
        """Add nodes as they are."""
        self._added.extend(nodes)

    def drop(self, node: onnx.NodeProto) -> None:
        """Remove a node."""
        self._dropped.update(name for name in node.output if name)

    def rename(self, node: onnx.NodeProto, source: str) -> None:
        """Remove a node with one output: what reads it reads `source` instead."""
        self._renamed[node.output[0]] = source
        self.drop(node)

    def finish(self) -> onnx.ModelProto:
        """Apply the edits. Returns the model: sorted, without shapes of inner tensors and without what is unused."""
        graph = self.model.graph
        kept = [node for node in graph.node if self._dropped.isdisjoint(node.output)]
        del graph.node[:]
        graph.node.extend([*kept, *self._added])
        del graph.value_info[:]
        rename_tensors(graph, self._renamed)
        sort_nodes(self.model)
        drop_unused(graph)
        return self.model


def evaluated(node: onnx.NodeProto, inputs: Sequence[Values], opsets: Sequence[OperatorSetIdProto]) -> list[Values]:
    """The outputs of one node, computed by ONNX's reference. `inputs` are those of its inputs that are given.

    Raises:
        Exception: of any kind: it cannot be computed.
    """
    names = [name for name in node.input if name]
    function = helper.make_function("edged", "one", names, [name for name in node.output if name], [node], opsets)
    feeds: dict[str, Any] = dict(zip(names, inputs, strict=True))
    with np.errstate(divide="raise", invalid="raise"):
        return [np.asarray(value) for value in ReferenceEvaluator(function).run(None, feeds, attributes={})]
