"""Computes the network in numpy, layer by layer with its normalisation: what an export has to agree with.

It shares with the export only the description and the weights: no folding, no graph, no runtime.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from provisioning.model import parts
from provisioning.model.description import Description

Array = npt.NDArray[Any]


def sigmoid_maps(description: Description, state: Mapping[str, Array], image: Array) -> list[Array]:
    """The outputs of the exported graph, in the dtype of the picture.

    Args:
        description: of the network.
        state: its weights by the names of a checkpoint.
        image: (channels, H, W), float32 or float64, RGB in 0..1, H and W multiples of the largest stride.

    Returns:
        For each head (A*(5+classes), H/stride, W/stride) in 0..1.
    """
    network = _Network(description, state, image.dtype)
    outputs: dict[int, Array] = {}
    x = image
    *layers, heads = description.layers()
    needed = {source for row in description.table for source in row.source}
    for index, (row, layer) in enumerate(zip(description.table[:-1], layers, strict=True)):
        inputs = [x if source == -1 else outputs[source] for source in row.source]
        x = network.layer(layer, inputs, f"model.{index}")
        if index in needed:
            outputs[index] = x
    last = len(layers)
    return [
        _sigmoid(network.conv2d(head, outputs[source], f"model.{last}.m.{index}"))
        for index, (head, source) in enumerate(zip(_heads(heads), description.table[-1].source, strict=True))
    ]


class _Network:
    """The weights of a network in one dtype; every method maps (C, H, W) to such maps."""

    def __init__(self, description: Description, state: Mapping[str, Array], dtype: np.dtype[Any]) -> None:
        self._activation = description.activation
        self._state = state
        self._dtype = dtype

    def layer(self, part: parts.Layer, inputs: list[Array], name: str) -> Array:
        x = inputs[0]
        match part:
            case parts.Conv():
                return self.conv(part, x, name)
            case parts.C3():
                return self._c3(part, x, name)
            case parts.SPPF() | parts.SPP():
                return self._pyramid(part, x, name)
            case parts.Focus():
                corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
                return self.conv(part.conv, np.concatenate(corners), f"{name}.conv")
            case parts.Double():
                return x.repeat(2, axis=1).repeat(2, axis=2)
            case parts.Concat():
                return np.concatenate(inputs)
        raise TypeError(f"no numbers for {type(part).__name__}")

    def conv(self, part: parts.Conv, x: Array, name: str) -> Array:
        y = self.conv2d(part.conv, x, f"{name}.conv")
        gamma, beta, mean, variance = (
            self._weight(f"{name}.bn.{each}")[:, None, None]
            for each in ("weight", "bias", "running_mean", "running_var")
        )
        return self._act((y - mean) / np.sqrt(variance + self._dtype.type(parts.BN_EPSILON)) * gamma + beta)

    def conv2d(self, part: parts.Conv2d, x: Array, name: str) -> Array:
        kernel, step = self._weight(f"{name}.weight"), part.stride
        padded = np.pad(x, ((0, 0), (part.padding,) * 2, (part.padding,) * 2))
        height, width = ((side - part.kernel) // step + 1 for side in padded.shape[1:])
        y = np.zeros((part.outputs, height * width), self._dtype)
        for row, column in np.ndindex(part.kernel, part.kernel):  # a convolution is a sum of products, one a tap
            tap = padded[:, row : row + height * step : step, column : column + width * step : step]
            y += np.ascontiguousarray(kernel[:, :, row, column]) @ tap.reshape(part.inputs, -1)
        y = y.reshape(part.outputs, height, width)
        return y + self._weight(f"{name}.bias")[:, None, None] if part.bias else y

    def _c3(self, part: parts.C3, x: Array, name: str) -> Array:
        y = self.conv(part.branch, x, f"{name}.cv1")
        for index, block in enumerate(part.m):
            z = self.conv(block.cv1, y, f"{name}.m.{index}.cv1")
            z = self.conv(block.cv2, z, f"{name}.m.{index}.cv2")
            y = y + z if block.shortcut else z
        return self.conv(part.cv3, np.concatenate([y, self.conv(part.branch, x, f"{name}.cv2")]), f"{name}.cv3")

    def _pyramid(self, part: parts.Pyramid, x: Array, name: str) -> Array:
        maps = [self.conv(part.cv1, x, f"{name}.cv1")]
        for kernel in parts.SPP_KERNELS:  # those of SPPF, one behind the other, come to the same
            maps.append(_maximum(maps[0], kernel))
        return self.conv(part.cv2, np.concatenate(maps), f"{name}.cv2")

    def _act(self, x: Array) -> Array:
        match self._activation:
            case "silu":
                return x * _sigmoid(x)
            case "relu":
                return np.maximum(x, 0)
            case "leaky_relu":
                return np.where(x > 0, x, x * self._dtype.type(parts.LEAKY_SLOPE))

    def _weight(self, name: str) -> Array:
        return self._state[name].astype(self._dtype, copy=False)


def _heads(layer: parts.Layer) -> tuple[parts.Conv2d, ...]:
    if not isinstance(layer, parts.Detect):
        raise TypeError(f"the last layer is {type(layer).__name__}, not Detect")
    return layer.m


def _sigmoid(x: Array) -> Array:
    with np.errstate(over="ignore"):  # exp(-x) of a very negative x is infinite, and 1 / infinity the right zero
        return 1 / (1 + np.exp(-x))


def _maximum(x: Array, kernel: int) -> Array:
    """The largest of each square, first along rows, then along columns."""
    for axis in (1, 2):
        around = [(0, 0)] * 3
        around[axis] = (kernel // 2, kernel // 2)
        padded = np.pad(x, around, constant_values=-np.inf)
        x = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=axis).max(axis=-1)
    return x
