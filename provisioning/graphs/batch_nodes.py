"""Mends the nodes of a graph that hold to one batch size, or that compute shapes.

The graph is followed for the batch size it was made for, and for twice as many pictures, each node mended before the
second: an axis whose size differs is the batch's.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edged.core.errors import DataError
from provisioning.graphs.rewriting import Rewriting, Values, opset_of
from provisioning.graphs.shapes import Shape, Shapes

_OF_SIZES = frozenset({"axes", "keep_aspect_ratio_policy"})  # attributes without meaning where every axis has a scale
# Their inputs have as many pictures each: nothing is repeated by itself.
_OF_ONE_BATCH = frozenset({"Concat", "GatherElements", "GridSample", "ScatterElements"})
_FIRST_BATCH_DIMS = 12  # before this opset, GatherND has none
_FIRST_OPTIONAL_ROI = 13
_FIRST_ROI = 11  # before this opset, the second input of Resize is `scales`


def one_size_only(reason: str) -> DataError:
    """The error to raise for a graph that cannot be made to take any batch size."""
    return DataError(
        f"its graph takes one batch size only: {reason}",
        remedy="export it again with a dynamic batch axis (--dynamic, dynamic=True)",
    )


class Freeing(Rewriting):
    """Mends a graph's nodes in order, while two tables follow its shapes.

    Attributes:
        one: for the batch size that the graph was made for.
        two: for twice as many pictures, with the mended nodes.
    """

    def __init__(self, model: onnx.ModelProto, picture: str, taken: Shape) -> None:
        super().__init__(model)
        self._batch = taken[0]
        self.one = Shapes(self.model, {picture: taken})
        self.two = Shapes(self.model, {picture: (2 * taken[0], *taken[1:])})

    def mend_nodes(self) -> None:
        """Mend every node that needs it.

        Raises:
            DataError: a node takes one batch size only, or the graph one size of pictures.
        """
        for node in list(self.model.graph.node):
            try:
                self.one.follow(node)
            except ValueError as exc:
                raise DataError(f"node {_named(node)} does not fit this size of pictures: {exc}") from exc
            made = [node]
            try:
                if node.op_type == "Reshape":
                    self._mend_reshape(node)
                elif node.op_type == "Resize":
                    made = self._mend_resize(node)
                elif node.op_type == "Expand":
                    self._mend_expand(node)
                elif node.op_type in _OF_ONE_BATCH:
                    made = self._mend_joint(node)
                elif node.op_type == "Gather":
                    made = self._mend_gather(node)
                for each in made:
                    self.two.follow(each)
            except ValueError as exc:
                raise one_size_only(f"at node {_named(node)}: {exc}") from exc
            self._fold(node)

    def _fold(self, node: onnx.NodeProto) -> None:
        """Replace a node whose outputs are the same constants for any batch size."""
        values = [(name, self.one.values.get(name), self.two.values.get(name)) for name in node.output if name]
        if self.outputs.intersection(node.output):
            return
        if all(one is not None and two is not None and np.array_equal(one, two) for _, one, two in values):
            self.drop(node)
            for name, one, _ in values:
                self.model.graph.initializer.append(numpy_helper.from_array(np.asarray(one), name))

    def _batch_axis(self, tensor: str) -> int | None:
        """The axis on which a tensor is twice as large for twice as many pictures, if there is exactly one."""
        one, two = self.one.shapes.get(tensor), self.two.shapes.get(tensor)
        if one is None or two is None or len(one) != len(two):
            return None
        changed = [axis for axis, (before, after) in enumerate(zip(one, two, strict=True)) if before != after]
        return changed[0] if len(changed) == 1 and two[changed[0]] == 2 * one[changed[0]] else None

    def _kept(self, name: str, value: Values) -> str:
        stored = self.store(f"{name}/edged", value)
        self.one.learn(stored, value)
        self.two.learn(stored, value)
        return stored

    def _mend_reshape(self, node: onnx.NodeProto) -> None:
        taken, given = self.one.shapes.get(node.input[0]), self.one.shapes.get(node.output[0])
        axis = self._batch_axis(node.input[0])
        if taken is None or given is None or axis is None or not given or len(node.input) == 1:  # 1: before opset 5
            return
        outer = math.prod(taken[:axis])
        fitting = [place for place in range(len(given)) if math.prod(given[:place]) == outer]
        target = [self.one.values.get(node.input[1]), self.two.values.get(node.input[1])]
        if target[0] is not None and target[1] is not None:  # the exporter's own shape may say where the batch is
            moved = np.flatnonzero(target[0] != target[1])
            fitting = [int(moved[0])] if len(moved) == 1 else fitting
        if not fitting:
            return
        place = axis if axis in fitting else fitting[0]
        shape = np.array(given, np.int64)
        shape[place] = 0 if place == axis and given[place] == taken[axis] else -1
        node.input[1] = self._kept(node.output[0], shape)
        _leave_out(node, {"allowzero"})

    def _mend_resize(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        taken, given = self.one.shapes.get(node.input[0]), self.one.shapes.get(node.output[0])
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        plain = len(node.input) <= 3 and "axes" not in attributes  # noqa: PLR2004 (X, roi, scales, sizes)
        if taken is None or given is None or 0 in taken:
            return [node]
        if plain and all(name in self.stored for name in node.input[1:] if name):
            return [node]
        if attributes.get("coordinate_transformation_mode") == b"tf_crop_and_resize":
            return [node]  # its first corner and size are not those of the whole picture
        _leave_out(node, _OF_SIZES)
        opset = opset_of(self.model)
        roi = "" if opset >= _FIRST_OPTIONAL_ROI else node.input[1]
        scales = [_scale(*sizes) for sizes in zip(taken, given, strict=True)]
        pairs = zip(taken, given, scales, strict=True)
        exact = all(scale == np.float32(after / before) for before, after, scale in pairs)
        axis = self._batch_axis(node.input[0])
        if axis is not None and not exact and attributes.get("mode", b"nearest") == b"nearest":
            # Half-way between two pixels it would take the other one.
            made = self._sizes_of_batch(node.input[0], axis, np.array(given, np.int64), node.output[0])
            node.input[1:] = [roi, "", made[-1].output[0]]
            return [*made, node]
        name = self._kept(node.output[0], np.array(scales, np.float32))
        node.input[1:] = [roi, name] if opset >= _FIRST_ROI else [name]
        return [node]

    def _sizes_of_batch(self, tensor: str, axis: int, others: Values, name: str) -> list[onnx.NodeProto]:
        """Nodes, the last of which makes the sizes `others`, but on one axis that of a tensor of the same rank."""
        sizes, mixed = self.fresh(f"{name}/shape"), self.fresh(f"{name}/sizes")
        batch = self._kept(f"{name}/batch", np.arange(len(others)) == axis)
        made = [
            helper.make_node("Shape", [tensor], [sizes]),
            helper.make_node("Where", [batch, sizes, self._kept(f"{name}/others", others)], [mixed]),
        ]
        self.adopt(made)
        return made

    def _mend_expand(self, node: onnx.NodeProto) -> None:
        """Leave it to the input where its size is that of the batch."""
        target = self.one.values.get(node.input[1])
        axis, taken = self._batch_axis(node.input[0]), self.one.shapes.get(node.input[0])
        if target is None or axis is None or taken is None or self.two.values.get(node.input[1]) is None:
            return
        place = axis - len(taken) + len(target)
        if place >= 0 and target[place] == taken[axis] and np.array_equal(target, self.two.values[node.input[1]]):
            node.input[1] = self._kept(node.output[0], np.where(np.arange(len(target)) == place, 1, target))

    def _mend_joint(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Repeat inputs that are the same for all pictures, such as learnt queries, as often as there are pictures."""
        axes = {name: self._batch_axis(name) for name in node.input}
        carrying, axis = next(((name, place) for name, place in axes.items() if place is not None), ("", 0))
        if not carrying or self._batch != 1:
            return [node]
        rank = len(self.one.shapes[carrying])
        along = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), None)
        fixed = [
            name for name in axes if name in self.one.shapes and self.one.shapes[name] == self.two.shapes.get(name)
        ]
        single = all(len(self.one.shapes[name]) == rank and self.one.shapes[name][axis] == 1 for name in fixed)
        if not fixed or not single or (along is not None and axis == along % rank):
            return [node]
        made = self._sizes_of_batch(carrying, axis, np.ones(rank, np.int64), node.output[0])
        repeated = made[-1].output[0]
        for name in fixed:
            twin = self.fresh(f"{name}/repeated")
            made.append(helper.make_node("Expand", [name, repeated], [twin]))
            self.adopt(made[-1:])
            node.input[:] = [twin if each == name else each for each in node.input]
        return [*made, node]

    def _mend_gather(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Indices of each picture into rows of all pictures, flattened: gather from the rows of that picture."""
        data, indices = node.input
        along = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
        if along != 0 or self._batch != 1 or self._batch_axis(data) != 0 or self._batch_axis(indices) != 0:
            return [node]
        rows, places = self.one.shapes[data], self.one.shapes[indices]
        if places[0] != 1 or opset_of(self.model) < _FIRST_BATCH_DIMS:
            return [node]
        names = [self.fresh(f"{node.output[0]}/{part}") for part in ("rows", "places", "gathered")]
        shapes = [[-1, *rows], [0, math.prod(places), 1], [0, *places[1:], *rows[1:]]]
        kept = [self._kept(name, np.array(shape, np.int64)) for name, shape in zip(names, shapes, strict=True)]
        made = [
            helper.make_node("Reshape", [data, kept[0]], [names[0]]),
            helper.make_node("Reshape", [indices, kept[1]], [names[1]]),
            helper.make_node("GatherND", names[:2], [names[2]], batch_dims=1),
            helper.make_node("Reshape", [names[2], kept[2]], [node.output[0]]),
        ]
        self.drop(node)
        self.adopt(made)
        return made


def _scale(before: int, after: int) -> float:
    """The factor that makes `after` of `before`, rounded down, in float32."""
    scale = np.float32(after / before)
    return float(scale if int(np.float32(before) * scale) >= after else np.nextafter(scale, np.float32(np.inf)))


def _leave_out(node: onnx.NodeProto, names: frozenset[str] | set[str]) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name not in names]
    del node.attribute[:]
    node.attribute.extend(kept)


def _named(node: onnx.NodeProto) -> str:
    return f"{node.name or node.output[0]} ({node.op_type})"
