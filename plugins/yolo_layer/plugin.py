"""`YoloLayer_TRT` for TensorRT 10.0 and up: a Python `IPluginV3` around the decode kernel, and its creator.

TensorRT calls these methods from C++. It prints an exception to stderr and treats the call as failed; therefore errors
are also logged here. Every method is needed: Python does not inherit the defaults of the C++ classes.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorrt as trt

from plugins.yolo_layer.contract import NAMESPACE, OPERATOR, OUTPUTS, USUAL_HEADS, VERSION, YoloLayer
from plugins.yolo_layer.kernel import DecodeOutputs, decode_launches, workspace_bytes
from plugins.yolo_layer.launch import LaunchOn

logger = logging.getLogger(__name__)

_HEADS = "num_heads"  # the only attribute that a node or engine may lack
FIELDS = ("max_stride", "num_classes", "anchors", "prenms_score_threshold", _HEADS)
_FIELD_DTYPES = (np.int32, np.int32, np.float32, np.float32, np.int32)
_OUTPUT_TYPES = (trt.DataType.INT32, trt.DataType.FLOAT, trt.DataType.FLOAT, trt.DataType.INT32)
_HEAD_TYPES = (trt.DataType.FLOAT, trt.DataType.HALF)
_ROWS, _COLS = 2, 3  # axes of a head (B, C, rows, cols)
_registered: list[YoloLayerCreator] = []  # kept alive here: the registry holds a raw pointer only


class YoloLayerPlugin(
    trt.IPluginV3,  # type: ignore[misc]
    trt.IPluginV3OneCore,  # type: ignore[misc]
    trt.IPluginV3OneBuild,  # type: ignore[misc]
    trt.IPluginV3OneRuntime,  # type: ignore[misc]
):
    """One `YoloLayer_TRT` node.

    Args:
        layer: its attributes.
        launch: puts the kernels, which are already loaded, on TensorRT's stream.
    """

    def __init__(self, layer: YoloLayer, launch: LaunchOn) -> None:
        for base in YoloLayerPlugin.__bases__:
            base.__init__(self)
        self.plugin_name, self.plugin_version, self.plugin_namespace = OPERATOR, VERSION, NAMESPACE
        self.num_outputs = len(OUTPUTS)
        self.layer = layer
        self._launch = launch
        # The bindings keep raw pointers into these: all three must live as long as the plugin.
        self._arrays = (
            np.array([layer.max_stride], np.int32),
            np.array([layer.num_classes], np.int32),
            np.array(layer.anchors, np.float32),
            np.array([layer.threshold], np.float32),
            np.array([layer.heads], np.int32),
        )
        self._fields = [
            trt.PluginField(name, array, _field_type(array)) for name, array in zip(FIELDS, self._arrays, strict=True)
        ]
        self._collection = trt.PluginFieldCollection(self._fields)
        _keep_for_ever(self)

    def get_capability_interface(self, _kind: trt.PluginCapabilityType) -> YoloLayerPlugin:
        """This object: it implements the interfaces for core, build and run time."""
        return self

    def clone(self) -> YoloLayerPlugin:
        """A new plugin with the same attributes."""
        return YoloLayerPlugin(self.layer, self._launch)

    def attach_to_context(self, _resources: trt.IPluginResourceContext) -> YoloLayerPlugin:
        """A plugin of its own for the execution context."""
        return self.clone()

    def get_fields_to_serialize(self) -> trt.PluginFieldCollection:
        """The attributes that an engine stores; at deserialisation the creator gets them back."""
        return self._collection

    def get_output_data_types(self, _input_types: Sequence[trt.DataType]) -> list[trt.DataType]:
        """int32 count, float32 boxes, float32 scores, int32 classes."""
        return list(_OUTPUT_TYPES)

    def get_output_shapes(
        self, inputs: Sequence[trt.DimsExprs], _shape_inputs: Sequence[trt.DimsExprs], build: trt.IExprBuilder
    ) -> list[trt.DimsExprs]:
        """(B, 1), (B, N, 4), (B, N), (B, N); N is one box for each anchor of each cell."""
        cells = build.constant(0)
        for head in inputs:
            area = build.operation(trt.DimensionOperation.PROD, head[_ROWS], head[_COLS])
            boxes = build.operation(trt.DimensionOperation.PROD, area, build.constant(self.layer.anchors_per_head))
            cells = build.operation(trt.DimensionOperation.SUM, cells, boxes)
        batch = inputs[0][0]
        shapes = ([batch, build.constant(1)], [batch, cells, build.constant(4)], [batch, cells], [batch, cells])
        return [trt.DimsExprs(shape) for shape in shapes]

    def supports_format_combination(
        self, position: int, tensors: Sequence[trt.DynamicPluginTensorDesc], _num_inputs: int
    ) -> bool:
        """Whether TensorRT may use this format: linear layout; the heads all float32 or all float16."""
        tensor = tensors[position].desc
        if tensor.format != trt.TensorFormat.LINEAR:
            return False
        if position >= self.layer.heads:
            return bool(tensor.type == _OUTPUT_TYPES[position - self.layer.heads])
        return tensor.type in _HEAD_TYPES and tensor.type == tensors[0].desc.type

    def configure_plugin(
        self, inputs: Sequence[trt.DynamicPluginTensorDesc], _outputs: Sequence[trt.DynamicPluginTensorDesc]
    ) -> None:
        """Refuse heads that the attributes do not fit."""
        for head in inputs:
            self._require_channels(head.desc.dims[1])

    def on_shape_change(self, inputs: Sequence[trt.PluginTensorDesc], _outputs: Sequence[trt.PluginTensorDesc]) -> None:
        """Refuse heads that the attributes do not fit."""
        for head in inputs:
            self._require_channels(head.dims[1])

    def get_workspace_size(
        self, inputs: Sequence[trt.DynamicPluginTensorDesc], _outputs: Sequence[trt.DynamicPluginTensorDesc]
    ) -> int:
        """Bytes of workspace for the largest batch of the profile."""
        return workspace_bytes(self.layer, [_size(head.max) for head in inputs], inputs[0].max[0])

    def set_tactic(self, _tactic: int) -> None:
        """Do nothing: the plugin has one implementation only."""

    def enqueue(
        self,
        input_desc: Sequence[trt.PluginTensorDesc],
        _output_desc: Sequence[trt.PluginTensorDesc],
        inputs: Sequence[int],
        outputs: Sequence[int],
        workspace: int,
        stream: int,
    ) -> None:
        """Enqueue two kernels. Neither allocates nor waits, so a CUDA graph can capture it."""
        try:
            for launch in decode_launches(
                self.layer,
                [_size(head.dims) for head in input_desc],
                batch=input_desc[0].dims[0],
                heads=inputs,
                outputs=DecodeOutputs(*outputs),
                workspace=workspace,
                half=input_desc[0].type == trt.DataType.HALF,
            ):
                self._launch(launch, stream)
        except Exception:
            logger.exception("%s could not run", OPERATOR)
            raise

    def _require_channels(self, channels: int) -> None:
        if channels not in (-1, self.layer.channels):
            logger.error("%s: expected heads of %d channels, got %d", OPERATOR, self.layer.channels, channels)
            raise ValueError(f"expected heads of {self.layer.channels} channels, got {channels}")


class YoloLayerCreator(trt.IPluginCreatorV3One):  # type: ignore[misc]
    """Makes plugins, for TensorRT, from the attributes of an ONNX node or of a serialised engine.

    Args:
        launch: passed to every plugin.
    """

    def __init__(self, launch: LaunchOn) -> None:
        trt.IPluginCreatorV3One.__init__(self)
        self.name, self.plugin_version, self.plugin_namespace = OPERATOR, VERSION, NAMESPACE
        self._launch = launch
        self._nothing = [np.empty(0, dtype) for dtype in _FIELD_DTYPES]
        self._fields = [
            trt.PluginField(name, array, _field_type(array)) for name, array in zip(FIELDS, self._nothing, strict=True)
        ]
        # The parser passes only attributes that are named here.
        self.field_names = trt.PluginFieldCollection(self._fields)

    def create_plugin(
        self, name: str, fields: trt.PluginFieldCollection, _phase: trt.TensorRTPhase
    ) -> YoloLayerPlugin | None:
        """The plugin; None if an attribute is missing or out of range (logged here; TensorRT then fails to build)."""
        given = {field.name: np.array(field.data).ravel() for field in fields if field.name in FIELDS}
        given.setdefault(_HEADS, np.array([USUAL_HEADS]))
        missing = [field for field in FIELDS if field not in given or not given[field].size]
        if missing:
            logger.error("%s %r lacks the attribute %s", OPERATOR, name, ", ".join(missing))
            return None
        try:
            layer = YoloLayer(
                max_stride=int(given["max_stride"][0]),
                num_classes=int(given["num_classes"][0]),
                anchors=tuple(float(side) for side in given["anchors"]),
                threshold=float(given["prenms_score_threshold"][0]),
                heads=int(given[_HEADS][0]),
            )
        except ValueError as exc:
            logger.error("%s %r: %s", OPERATOR, name, exc)  # noqa: TRY400 - the message says it all
            return None
        return YoloLayerPlugin(layer, self._launch)


def register(launch: LaunchOn) -> None:
    """Register the plugin with TensorRT. Call it before a model is parsed or an engine is deserialised.

    A second call only replaces `launch`, for plugins that are made from then on.

    Args:
        launch: puts the decode kernels on a stream of the CUDA device that is current in the calling thread.

    Raises:
        RuntimeError: the bindings cannot pass attributes to plugins, or the name is taken by another plugin.
    """
    _require_sound_fields()
    if _registered:
        _registered[0]._launch = launch  # noqa: SLF001 - our own class
        return
    creator = YoloLayerCreator(launch)
    if not trt.get_plugin_registry().register_creator(creator, NAMESPACE):
        raise RuntimeError(
            f"TensorRT refused {OPERATOR} version {VERSION} in namespace {NAMESPACE!r}: the name is taken"
        )
    _registered.append(creator)


def _require_sound_fields() -> None:
    """Raise if the bindings misread arrays: those built for numpy 1 (about 10.15 and older) do under numpy 2.

    They read an array as its first element, repeated.
    """
    sample = np.array([1.0, 2.0], np.float32)
    field = trt.PluginField("sample", sample, trt.PluginFieldType.FLOAT32)
    if not np.array_equal(field.data, sample):
        raise RuntimeError(
            f"TensorRT {trt.__version__}'s Python bindings misread plugin attributes under numpy {np.__version__}; "
            "install numpy below 2"
        )


def _keep_for_ever(plugin: YoloLayerPlugin) -> None:
    """Keep Python from ever freeing it: with TensorRT 10.3, freeing an object with several TensorRT bases crashed.

    This leaks little: a few dozen plugins in a build, two or three at run time, a few hundred bytes each.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(plugin))


def _field_type(array: np.ndarray[Any, Any]) -> trt.PluginFieldType:
    return trt.PluginFieldType.INT32 if array.dtype == np.int32 else trt.PluginFieldType.FLOAT32


def _size(dims: Sequence[int]) -> tuple[int, int]:
    return dims[_ROWS], dims[_COLS]
