"""Turns a quantised graph into the float32 graph that it stands for: only the rounding of activations is gone.

Two forms are read: dynamic quantisation (`DynamicQuantizeLinear` with `ConvInteger` or `MatMulInteger`), and pairs of
`QuantizeLinear` and `DequantizeLinear`. Weights become (q - zero point) * scale. TensorRT parses no `ConvInteger`, and
our own quantisation starts from float weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper

from edged.core.errors import DataError
from provisioning.graphs.rewriting import KEEPS_SIZE, Rewriting, Values, opset_of

_INTEGER = {"ConvInteger": "Conv", "MatMulInteger": "MatMul"}
_QUANTISERS = frozenset({"DynamicQuantizeLinear", "QuantizeLinear"})
_LINEAR = frozenset({"QLinearConv", "QLinearMatMul"})
_QUANTISED = frozenset({*_INTEGER, *_QUANTISERS, *_LINEAR, "DequantizeLinear"})
# Each keeps the values of its first input, so that it may stand between a quantiser and what reads integers.
_LAYOUT = KEEPS_SIZE | {"Gather", "Slice", "MaxPool", "Pad"}
_NEVER_NEGATIVE = frozenset({"Relu", "Sigmoid", "Softmax", "Clip", "HardSigmoid", "Abs"})
_BYTES = {np.dtype(np.int8), np.dtype(np.uint8)}
_FIRST_CLIP_INPUTS = 11  # before this opset, the limits of Clip are attributes


def quantised_kinds(model: onnx.ModelProto) -> frozenset[str]:
    """Types of the quantisation nodes in a graph and its subgraphs; empty for a float graph."""
    return frozenset(node.op_type for node in _all_nodes(model.graph) if node.op_type in _QUANTISED)


def dequantised(model: onnx.ModelProto) -> onnx.ModelProto:
    """The float32 graph that a quantised one stands for; the model itself if it has no quantisation node.

    Inputs and outputs keep their names. A bias that is added right behind a convolution becomes its own. Where a
    quantiser's zero point is the bottom of its type, a Clip comes in its place: quantisation tools leave out a Relu
    or Clip there, for saturation does the same.

    Raises:
        DataError: another form of quantisation.
    """
    if not quantised_kinds(model):
        return model
    _require_none(model, _LINEAR)
    editing = _Dequantising(model)
    for node in list(editing.model.graph.node):
        try:
            if node.op_type in _INTEGER:
                editing.convert_sums(node)
            elif node.op_type == "DequantizeLinear":
                editing.rename(node, editing.real(node.input[0], node.input[1], _optional(node, 2), reader=node))
        except (ValueError, IndexError) as exc:  # shapes that do not fit together
            raise _refusal(node) from exc
    made = editing.finish()
    _require_none(made, _QUANTISED)
    return made


class _Dequantising(Rewriting):
    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__(model)
        self._real: dict[tuple[str, str, str], str] = {}  # (quantised, scale, zero point) -> float

    def convert_sums(self, node: onnx.NodeProto) -> None:
        """ConvInteger or MatMulInteger, Cast, Mul by the scales, and Add of a bias become Conv or MatMul."""
        scale, zero = self._origin(node.input[0], node)
        if _optional(node, 2) != zero:
            raise _refusal(node)
        data, scales = self.real(node.input[0], scale, zero, reader=node), [scale]
        weights = self.constant(node.input[1])
        if weights is not None:
            centred = self._centred(node, weights)
            for product in self._products(node):
                self._with_weights(node, data, centred, product, self._factor(node, product, scales))
            return
        scale, zero = self._origin(node.input[1], node)
        if _optional(node, 3) != zero:
            raise _refusal(node)
        second = self.real(node.input[1], scale, zero, reader=node)
        for product in self._products(node):
            if not np.all(self._factor(node, product, [*scales, scale]) == 1):
                raise _refusal(node)
            self._replace(node, product, [data, second])

    def _with_weights(
        self, node: onnx.NodeProto, data: str, weights: Values, product: onnx.NodeProto, factor: Values
    ) -> None:
        folded = _folded(node.op_type, weights, factor)
        if folded is None:
            raise _refusal(node)
        inputs, last = [data, self.store(f"{node.input[1]}/float", folded)], product
        added = self._bias_behind(product.output[0], weights.shape) if node.op_type == "ConvInteger" else None
        if added is not None:
            last, bias = added
            self.drop(product)
            inputs.append(self.store(f"{last.output[0]}/bias", bias))
        self._replace(node, last, inputs)

    def _replace(self, node: onnx.NodeProto, last: onnx.NodeProto, inputs: Sequence[str]) -> None:
        """Add the float node of an integer one, in the place of the last node behind that."""
        self.drop(last)
        self.add(_INTEGER[node.op_type], inputs, last.output[0], like=node)

    def _bias_behind(self, tensor: str, weights: tuple[int, ...]) -> tuple[onnx.NodeProto, Values] | None:
        """An Add of one number per channel and these numbers (M,), if nothing else reads `tensor`."""
        users = self.users.get(tensor, [])
        if tensor in self.outputs or len(users) != 1 or users[0].op_type != "Add" or set(users[0].input) == {tensor}:
            return None
        added = self.constant(next(name for name in users[0].input if name != tensor))
        channels, rank = weights[0], len(weights)
        if added is None or added.dtype != np.float32 or added.ndim > rank:
            return None
        shape = (1,) * (rank - added.ndim) + added.shape
        if shape not in {(1, channels, *(1,) * (rank - 2)), (1,) * rank}:
            return None
        return users[0], np.broadcast_to(added.reshape(-1), (channels,))

    def _products(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The Mul nodes behind the Cast of an integer node."""
        found = []
        for cast in self.users.get(node.output[0], []):
            to_float = cast.op_type == "Cast" and helper.get_node_attr_value(cast, "to") == TensorProto.FLOAT
            products = self.users.get(cast.output[0], []) if to_float else []
            once = all(user.op_type == "Mul" and set(user.input) > {cast.output[0]} for user in products)
            if not products or not once:
                raise _refusal(node)
            found += products
        return found

    def _factor(self, node: onnx.NodeProto, product: onnx.NodeProto, scales: Sequence[str]) -> Values:
        """What the sums are multiplied by beside the scales of the activations, each of which must be there once."""
        casts = {user.output[0] for user in self.users[node.output[0]]}
        waiting = [name for name in product.input if name not in casts]
        constant, others = np.ones((), np.float32), list[str]()
        while waiting and len(others) <= len(scales):
            name = waiting.pop()
            value, source = self.constant(name), self.maker.get(name)
            if value is not None and value.dtype == np.float32:
                constant = np.asarray(constant * value, np.float32)
            elif source is not None and source.op_type == "Mul":
                waiting.extend(source.input)
            else:
                others.append(name)
        if waiting or sorted(others) != sorted(scales):
            raise _refusal(node)
        return constant

    def _centred(self, node: onnx.NodeProto, weights: Values) -> Values:
        """Integer weights less their zero point, as float32."""
        name = _optional(node, 3)
        zero = self.constant(name) if name else np.zeros((), weights.dtype)
        if zero is None or {weights.dtype, zero.dtype} - _BYTES:
            raise _refusal(node)
        if node.op_type == "ConvInteger" and zero.size > 1:
            zero = zero.reshape(-1, *(1,) * (weights.ndim - 1))  # one of each output channel
        return (weights.astype(np.int32) - zero.astype(np.int32)).astype(np.float32)

    def _origin(self, tensor: str, reader: onnx.NodeProto) -> tuple[str, str]:
        """Names of scale and zero point of a quantised activation; the latter is empty if it has none."""
        node = self._behind_layout(tensor)
        if node is not None and node.op_type in _QUANTISERS:
            return _scale_and_zero(node)
        raise _refusal(reader)

    def _behind_layout(self, tensor: str) -> onnx.NodeProto | None:
        node = self.maker.get(tensor)
        while node is not None and node.op_type in _LAYOUT:
            node = self.maker.get(node.input[0])
        return node

    def real(self, tensor: str, scale: str, zero: str, *, reader: onnx.NodeProto) -> str:
        """Name of the float tensor that a quantised one stands for, by the names of a scale and a zero point."""
        key = (tensor, scale, zero)
        if key not in self._real:
            self._real[key] = self._found(tensor, scale, zero, reader)
        return self._real[key]

    def _found(self, tensor: str, scale: str, zero: str, reader: onnx.NodeProto) -> str:
        node, value = self.maker.get(tensor), self.constant(tensor)
        if value is not None:
            return self.store(f"{tensor}/float", self._dequantised_weights(value, scale, zero, reader))
        if node is not None and node.op_type in _QUANTISERS:
            own_scale, own_zero = _scale_and_zero(node)
            if not (self._same(scale, own_scale) and self._same(zero, own_zero)):
                raise _refusal(reader)
            return self._clipped(node)
        if node is None or node.op_type not in _LAYOUT:
            raise _refusal(reader)
        inputs = [self.real(node.input[0], scale, zero, reader=reader), *node.input[1:]]
        if node.op_type == "Pad" and _optional(node, 2):
            if not self._same(node.input[2], zero):
                raise _refusal(node)
            inputs[2] = ""  # the zero point stands for 0
        output = self.fresh(f"{tensor}/float")
        self.add(node.op_type, inputs, output, like=node)
        return output

    def _dequantised_weights(self, value: Values, scale: str, zero: str, reader: onnx.NodeProto) -> Values:
        scales, zeros = self.constant(scale), self.constant(zero) if zero else np.zeros(())
        if reader.op_type != "DequantizeLinear" or scales is None or zeros is None:
            raise _refusal(reader)
        if scales.size > 1 and self.constant(reader.input[0]) is not value:  # a Gather since then: which axis is it?
            raise _refusal(reader)
        scales, zeros = (_spread(each, value.shape, reader) for each in (scales, zeros))
        return (value.astype(np.float32) - zeros.astype(np.float32)) * scales.astype(np.float32)

    def _same(self, first: str, second: str) -> bool:
        """Whether two scales or zero points are one tensor, or equal numbers; without a name it is 0."""
        if first == second:
            return True
        values = [self.constant(name) if name else np.zeros(()) for name in (first, second)]
        one, other = values
        return one is not None and other is not None and np.array_equal(one.ravel(), other.ravel())

    def _clipped(self, node: onnx.NodeProto) -> str:
        """The input of a quantiser, clipped if its zero point is the bottom of its type; see `dequantised`."""
        taken: str = node.input[0]
        source = self._behind_layout(taken)
        positive = source is not None and source.op_type in _NEVER_NEGATIVE
        if node.op_type == "DynamicQuantizeLinear" or taken in self.inputs or positive:
            return taken
        scale, zero = self.constant(node.input[1]), np.zeros((), np.uint8)
        if _optional(node, 2):
            zero = np.asarray(self.constant(node.input[2]))
        if scale is None or scale.size != 1 or zero.size != 1 or zero.dtype.kind not in "iu":
            return taken
        limits = np.iinfo(zero.dtype)
        if int(zero.item()) != limits.min or self.constant(taken) is not None:
            return taken
        ends = [np.float32(0), np.float32((limits.max - limits.min) * float(scale.item()))]
        output = self.fresh(f"{node.output[0]}/clipped")
        if opset_of(self.model) < _FIRST_CLIP_INPUTS:
            self.add("Clip", [taken], output, min=float(ends[0]), max=float(ends[1]))
        else:
            self.add("Clip", [taken, *(self.store(f"{output}/limit", np.array(end)) for end in ends)], output)
        return output


def _folded(kind: str, weights: Values, factor: Values) -> Values | None:
    """Weights times the scale behind them, if it has one number for all or for each output channel; else None."""
    if factor.size == 1:
        return weights * factor.reshape(())
    if kind == "MatMulInteger":
        return weights * factor if factor.shape == weights.shape[-1:] else None
    shape = (1,) * (weights.ndim - factor.ndim) + factor.shape
    by_channel = shape == (1, weights.shape[0], *(1,) * (weights.ndim - 2))
    return weights * factor.reshape(-1, *(1,) * (weights.ndim - 1)) if by_channel else None


def _spread(numbers: Values, shape: tuple[int, ...], node: onnx.NodeProto) -> Values:
    """Scales or zero points of DequantizeLinear in a shape that fits weights of `shape`; ValueError if none does."""
    if numbers.size == 1:
        return numbers.reshape(())
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1) % max(1, len(shape))
    block = next((attribute.i for attribute in node.attribute if attribute.name == "block_size"), 0)
    if block > 0:
        numbers = np.take(numbers, np.arange(shape[axis]) // block, axis)
    else:
        numbers = numbers.reshape(*(1,) * axis, -1, *(1,) * (len(shape) - axis - 1))
    return np.broadcast_to(numbers, shape)


def _scale_and_zero(node: onnx.NodeProto) -> tuple[str, str]:
    """Names of a quantiser's scale and zero point; empty for one that is left out."""
    names = [*(node.output if node.op_type == "DynamicQuantizeLinear" else node.input), ""]
    return names[1], names[2]


def _optional(node: onnx.NodeProto, place: int) -> str:
    return node.input[place] if len(node.input) > place else ""


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from _all_nodes(attribute.g)


def _require_none(model: onnx.ModelProto, kinds: frozenset[str]) -> None:
    for node in _all_nodes(model.graph):
        if node.op_type in kinds:
            raise _refusal(node)


def _refusal(node: onnx.NodeProto) -> DataError:
    return DataError(
        f"node {node.name or node.output[0]} ({node.op_type}) is quantised in a form that is not read: expected "
        "DynamicQuantizeLinear with ConvInteger or MatMulInteger, or QuantizeLinear with DequantizeLinear",
        remedy="import the float export; `edged-provision quantize` makes INT8 of it",
    )
