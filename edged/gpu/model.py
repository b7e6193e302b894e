"""Checks a loaded engine's input and outputs against a manifest: heads, or the outputs of the decode plugin."""

from __future__ import annotations

from dataclasses import dataclass

from edged.core.decode import GridDecode
from edged.core.errors import BundleMismatch
from edged.core.manifest import Manifest
from edged.gpu.protocols import Engine, TensorSpec
from plugins.yolo_layer.contract import OUTPUTS, YoloLayer
from plugins.yolo_layer.kernel import cell_count

HEAD_NAMES = ("p3", "p4", "p5")
_REMEDY = "build the engine from this very bundle: edged-provision build"


@dataclass(frozen=True, slots=True)
class EngineModel:
    """An engine's contract with the kernels around it.

    Attributes:
        input_name: of the one input.
        input_wh: the network's width and height, pixels.
        half_input: the input is float16, else float32.
        half_heads: the heads are float16, else float32.
        in_engine: the engine contains the decode (YoloLayer_TRT), else its outputs are the heads.
        layer: attributes of the decode.
        head_sizes: (rows, columns) of p3, p4, p5.
    """

    input_name: str
    input_wh: tuple[int, int]
    half_input: bool
    half_heads: bool
    in_engine: bool
    layer: YoloLayer
    head_sizes: tuple[tuple[int, int], ...]

    @property
    def cells(self) -> int:
        """Number of anchor cells: boxes per image before NMS."""
        return cell_count(self.layer, self.head_sizes)

    @classmethod
    def of(cls, engine: Engine, manifest: Manifest) -> EngineModel:
        """Derive the contract from the engine's tensors.

        Raises:
            BundleMismatch: the engine was not built from this manifest's model.
        """
        layer = yolo_layer(manifest)
        sizes = tuple((manifest.input_wh[1] // stride, manifest.input_wh[0] // stride) for stride in layer.strides)
        name, spec = _only_input(engine, manifest)
        names = {key for key, tensor in engine.tensors.items() if not tensor.is_input}
        in_engine = names == set(OUTPUTS)
        if not in_engine and names != set(HEAD_NAMES):
            raise BundleMismatch(
                f"the engine's outputs are {', '.join(sorted(names))}; expected {', '.join(HEAD_NAMES)} "
                f"or {', '.join(OUTPUTS)}",
                remedy=_REMEDY,
            )
        model = cls(
            input_name=name,
            input_wh=manifest.input_wh,
            half_input=spec.dtype == "float16",
            half_heads=not in_engine and engine.tensors[HEAD_NAMES[0]].dtype == "float16",
            in_engine=in_engine,
            layer=layer,
            head_sizes=sizes,
        )
        _require_outputs(engine, model)
        return model


def yolo_layer(manifest: Manifest) -> YoloLayer:
    """Attributes of the decode, from a manifest.

    Raises:
        BundleMismatch: the GPU's decode does not support this model.
    """
    if not isinstance(manifest.decode, GridDecode):
        raise BundleMismatch(f"{manifest.name} cannot run on the GPU yet", remedy='say backend = "cpu"')
    try:
        return YoloLayer.of(manifest.decode, classes=len(manifest.classes), threshold=manifest.min_confidence)
    except ValueError as exc:
        raise BundleMismatch(f"{manifest.name} cannot run on the GPU: {exc}", remedy='say backend = "cpu"') from exc


def _only_input(engine: Engine, manifest: Manifest) -> tuple[str, TensorSpec]:
    inputs = [(name, spec) for name, spec in engine.tensors.items() if spec.is_input]
    wanted = (3, manifest.input_wh[1], manifest.input_wh[0])
    if len(inputs) != 1 or inputs[0][1].shape[1:] != wanted or inputs[0][1].dtype not in {"float32", "float16"}:
        got = ", ".join(f"{name} {spec.dtype} {list(spec.shape)}" for name, spec in inputs)
        raise BundleMismatch(f"the engine takes {got}; expected one float (batch, {wanted})", remedy=_REMEDY)
    return inputs[0]


def _require_outputs(engine: Engine, model: EngineModel) -> None:
    float_type = "float16" if model.half_heads else "float32"
    heads = {
        name: ((model.layer.channels, *size), float_type)
        for name, size in zip(HEAD_NAMES, model.head_sizes, strict=True)
    }
    count, boxes, scores, classes = OUTPUTS
    decoded: dict[str, tuple[tuple[int, ...], str]] = {
        count: ((1,), "int32"),
        boxes: ((model.cells, 4), "float32"),
        scores: ((model.cells,), "float32"),
        classes: ((model.cells,), "int32"),
    }
    wanted: dict[str, tuple[tuple[int, ...], str]] = decoded if model.in_engine else {**heads}
    for name, (shape, dtype) in wanted.items():
        spec = engine.tensors[name]
        if spec.shape[1:] != shape or spec.dtype != dtype:
            raise BundleMismatch(
                f"the engine's {name} is {spec.dtype} {list(spec.shape)}; expected {dtype} "
                f"(batch, {', '.join(map(str, shape))})",
                remedy=_REMEDY,
            )
