"""Folds batch normalisation and Focus into plain convolutions, in numpy: the same weights, the same bytes, anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from provisioning.model.parts import BN_EPSILON

Array = npt.NDArray[Any]
Doubles = npt.NDArray[np.float64]


def folded(state: Mapping[str, Array], name: str) -> tuple[Doubles, Doubles]:
    """Kernel (O, I, K, K) and bias (O,) of the convolution `NAME.conv` with the normalisation `NAME.bn` behind it.

    Normalisation in evaluation is y = (x - mean) / sqrt(variance + eps) * weight + bias, which is linear in x. In
    float64, so that the caller rounds once.

    Args:
        state: weights by the names of a checkpoint, any float dtype.
        name: of the part, `model.2.cv1`.
    """
    kernel = state[f"{name}.conv.weight"]
    gamma, beta, mean, variance = (
        state[f"{name}.bn.{each}"].astype(np.float64) for each in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / np.sqrt(variance + BN_EPSILON)
    return kernel.astype(np.float64) * scale[:, None, None, None], beta - mean * scale


def focus_kernel(kernel: Array) -> Array:
    """The 6x6 kernel of stride 2 that computes what Focus does with its 3x3 one.

    A 3x3 kernel over 2x2 squares touches 6x6 pixels: tap (2*ky + row, 2*kx + column) of the new kernel is tap (ky, kx)
    of the channel block that Focus made of corner (row, column).

    Args:
        kernel: (O, 4*I, 3, 3).

    Returns:
        (O, I, 6, 6).
    """
    outputs, quadrupled = kernel.shape[:2]
    inputs = quadrupled // 4
    blocks = kernel.reshape(outputs, 2, 2, inputs, 3, 3)  # (O, column, row, I, ky, kx)
    return np.ascontiguousarray(blocks.transpose(0, 3, 4, 2, 5, 1).reshape(outputs, inputs, 6, 6))
