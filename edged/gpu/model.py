"""Checks a loaded engine's input and outputs against a manifest: heads, the decode plugin's outputs, or rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edged.core.decode import MAX_ROWS, ROW_VALUES, ROWS, GridDecode, ListDecode, cells_hw, head_names
from edged.core.errors import BundleMismatch
from edged.core.manifest import Manifest
from edged.core.rows import rows_problem
from edged.core.types import Floats
from edged.gpu.protocols import Engine, TensorSpec
from plugins.yolo_layer.contract import OUTPUTS, YoloLayer
from plugins.yolo_layer.kernel import cell_count

_REMEDY = "build the engine from this very bundle: edged-provision build"

Tensor = tuple[tuple[int, ...], str]  # shape without the batch, dtype as numpy names it


@dataclass(frozen=True, slots=True)
class HeadOutputs:
    """What an engine of a grid model gives.

    Attributes:
        half: the heads are float16, else float32.
        in_engine: the engine contains the decode (YoloLayer_TRT), else its outputs are the heads.
        layer: attributes of the decode.
        head_sizes: (rows, columns) of each head.
    """

    half: bool
    in_engine: bool
    layer: YoloLayer
    head_sizes: tuple[tuple[int, int], ...]

    @property
    def head_names(self) -> tuple[str, ...]:
        """Names of the heads."""
        return head_names(self.layer.heads)

    @property
    def cells(self) -> int:
        """Number of anchor cells: boxes per image before NMS."""
        return cell_count(self.layer, self.head_sizes)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The outputs by name."""
        if not self.in_engine:
            float_type = "float16" if self.half else "float32"
            sizes = zip(self.head_names, self.head_sizes, strict=True)
            return {name: ((self.layer.channels, *size), float_type) for name, size in sizes}
        count, boxes, scores, classes = OUTPUTS
        return {
            count: ((1,), "int32"),
            boxes: ((self.cells, 4), "float32"),
            scores: ((self.cells,), "float32"),
            classes: ((self.cells,), "int32"),
        }

    @property
    def tested(self) -> dict[str, Tensor]:
        """The outputs that the self-test reads: of lists that the engine made itself most is not written."""
        return {} if self.in_engine else self.tensors

    def problem(self, values: Floats) -> str:
        """What is wrong with one of them; empty if nothing is."""
        return "" if np.isfinite(values).all() else "NaN or Inf"


@dataclass(frozen=True, slots=True)
class RowOutputs:
    """What an engine of a list model gives: `count` rows per image, always float32; `classes` is the model's number."""

    count: int
    classes: int

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The output by name."""
        return {ROWS: ((self.count, ROW_VALUES), "float32")}

    @property
    def tested(self) -> dict[str, Tensor]:
        """The outputs that the self-test reads."""
        return self.tensors

    def problem(self, values: Floats) -> str:
        """What is wrong with (N, 6) rows; empty if nothing is."""
        return rows_problem(values, self.classes)


@dataclass(frozen=True, slots=True)
class EngineModel:
    """An engine's contract with the kernels around it.

    Attributes:
        input_name: of the one input.
        input_wh: the network's width and height, pixels.
        half_input: the input is float16, else float32.
        outputs: what it gives.
    """

    input_name: str
    input_wh: tuple[int, int]
    half_input: bool
    outputs: HeadOutputs | RowOutputs

    @classmethod
    def of(cls, engine: Engine, manifest: Manifest) -> EngineModel:
        """Derive the contract from the engine's tensors.

        Raises:
            BundleMismatch: the engine was not built from this manifest's model.
        """
        outputs = _outputs(engine, manifest)
        name, spec = _only_input(engine, manifest)
        for output, (shape, dtype) in outputs.tensors.items():
            found = engine.tensors[output]
            if found.shape[1:] != shape or found.dtype != dtype:
                raise BundleMismatch(
                    f"the engine's {output} is {found.dtype} {list(found.shape)}; expected {dtype} "
                    f"(batch, {', '.join(map(str, shape))})",
                    remedy=_REMEDY,
                )
        return cls(name, manifest.input_wh, spec.dtype == "float16", outputs)


def yolo_layer(manifest: Manifest, decode: GridDecode) -> YoloLayer:
    """Attributes of the decode.

    Args:
        manifest: of the model.
        decode: the manifest's.

    Raises:
        BundleMismatch: the GPU's decode does not support this model.
    """
    try:
        return YoloLayer.of(decode, classes=len(manifest.classes), threshold=manifest.min_confidence)
    except ValueError as exc:
        raise BundleMismatch(f"{manifest.name} cannot run on the GPU: {exc}", remedy='say backend = "cpu"') from exc


def _outputs(engine: Engine, manifest: Manifest) -> HeadOutputs | RowOutputs:
    names = {key for key, tensor in engine.tensors.items() if not tensor.is_input}
    match manifest.decode:
        case GridDecode() as decode:
            layer = yolo_layer(manifest, decode)
            _require_names(names, decode.outputs, OUTPUTS)
            in_engine = names == set(OUTPUTS)
            return HeadOutputs(
                half=not in_engine and engine.tensors[decode.outputs[0]].dtype == "float16",
                in_engine=in_engine,
                layer=layer,
                head_sizes=tuple(cells_hw(manifest.input_wh, stride) for stride in layer.strides),
            )
        case ListDecode():
            _require_names(names, (ROWS,))
            shape = engine.tensors[ROWS].shape
            count = shape[1] if len(shape) > 1 else 0
            if not 1 <= count <= MAX_ROWS:
                raise BundleMismatch(
                    f"the engine's {ROWS} is {list(shape)}; "
                    f"expected (batch, N, {ROW_VALUES}), N fixed in 1..{MAX_ROWS}",
                    remedy=_REMEDY,
                )
            return RowOutputs(count, len(manifest.classes))


def _require_names(names: set[str], *allowed: tuple[str, ...]) -> None:
    if not any(names == set(wanted) for wanted in allowed):
        raise BundleMismatch(
            f"the engine's outputs are {', '.join(sorted(names))}; "
            f"expected {' or '.join(', '.join(wanted) for wanted in allowed)}",
            remedy=_REMEDY,
        )


def _only_input(engine: Engine, manifest: Manifest) -> tuple[str, TensorSpec]:
    inputs = [(name, spec) for name, spec in engine.tensors.items() if spec.is_input]
    wanted = (3, manifest.input_wh[1], manifest.input_wh[0])
    if len(inputs) != 1 or inputs[0][1].shape[1:] != wanted or inputs[0][1].dtype not in {"float32", "float16"}:
        got = ", ".join(f"{name} {spec.dtype} {list(spec.shape)}" for name, spec in inputs)
        raise BundleMismatch(f"the engine takes {got}; expected one float (batch, {wanted})", remedy=_REMEDY)
    return inputs[0]
