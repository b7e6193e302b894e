"""The plugin with TensorRT's real bindings: made, registered, queried, serialised, run over the real kernels."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from plugins.yolo_layer.contract import NAMESPACE, OPERATOR, VERSION, YoloLayer
from plugins.yolo_layer.launch import Launch
from tests.gpu.bindings import load_bindings
from tests.gpu.host_kernels import host_launch
from tests.plugins.decoding import layer, random_heads, require_equal_to_reference, sizes_of

trt: Any = None


@pytest.fixture(scope="module")
def plugin() -> Iterator[types.ModuleType]:
    """The module under test, imported with the bindings as `tensorrt`, which vanish again behind it."""
    global trt  # noqa: PLW0603 - the name that the tests' code would import
    trt = load_bindings()
    if not hasattr(trt, "IPluginV3"):
        pytest.skip(f"TensorRT {trt.__version__} takes no plugins written in Python")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "tensorrt", trt)
        patch.delitem(sys.modules, "plugins.yolo_layer.plugin", raising=False)
        module = importlib.import_module("plugins.yolo_layer.plugin")
        yield module
        for creator in module._registered:
            trt.get_plugin_registry().deregister_creator(creator)
        sys.modules.pop("plugins.yolo_layer.plugin", None)


@pytest.fixture
def sound(plugin: types.ModuleType) -> types.ModuleType:
    """For tests that read array attributes back."""
    try:
        plugin._require_sound_fields()
    except RuntimeError as exc:
        pytest.skip(str(exc))
    return plugin


class FakeDesc:
    """What TensorRT passes to a plugin, whose own class cannot be made from Python with a shape."""

    def __init__(self, shape: tuple[int, ...], dtype: Any, layout: Any = None) -> None:
        self.dims = self.max = shape
        self.type = dtype
        self.format = trt.TensorFormat.LINEAR if layout is None else layout
        self.desc = self


class FakeExprs:
    """Dimension expressions as plain integers."""

    @staticmethod
    def constant(value: int) -> int:
        return value

    @staticmethod
    def operation(operation: Any, a: int, b: int) -> int:
        return a * b if operation == trt.DimensionOperation.PROD else a + b


def launch(what: Launch, _stream: int) -> None:
    host_launch(what)


def node_fields(node: YoloLayer) -> tuple[Any, list[Any]]:
    """The attributes as the parser hands them over, and what must stay alive."""
    arrays = [
        np.array([node.max_stride], np.int32),
        np.array([node.num_classes], np.int32),
        np.array(node.anchors, np.float32),
        np.array([node.threshold], np.float32),
        np.array([node.heads], np.int32),
    ]
    kinds = [trt.PluginFieldType.INT32] * 2 + [trt.PluginFieldType.FLOAT32] * 2 + [trt.PluginFieldType.INT32]
    names = ("max_stride", "num_classes", "anchors", "prenms_score_threshold", "num_heads")
    fields = [trt.PluginField(name, array, kind) for name, array, kind in zip(names, arrays, kinds, strict=True)]
    return trt.PluginFieldCollection(fields), [arrays, fields]


def test_plugin_says_who_it_is(plugin: types.ModuleType) -> None:
    made = plugin.YoloLayerPlugin(layer(), launch)
    assert (made.plugin_name, made.plugin_version, made.plugin_namespace) == (OPERATOR, VERSION, NAMESPACE)
    assert made.num_outputs == 4
    assert made.get_capability_interface(trt.PluginCapabilityType.CORE) is made
    assert made.clone().layer == made.layer == made.attach_to_context(None).layer


def test_plugin_has_every_method_that_the_bindings_call(plugin: types.ModuleType) -> None:
    """C++ defaults are not inherited: a missing method prints and fails. Optional ones are named here."""
    optional = {"get_valid_tactics", "destroy", "DEFAULT_FORMAT_COMBINATION_LIMIT", "format_combination_limit"}
    optional |= {"metadata_string", "timing_cache_id"}
    for base in plugin.YoloLayerPlugin.__bases__:
        wanted = {name for name in vars(base) if not name.startswith("_")} - optional
        wanted -= {"num_outputs", "plugin_name", "plugin_version", "plugin_namespace"}
        assert wanted <= set(vars(plugin.YoloLayerPlugin))


def test_plugin_output_types_and_shapes(plugin: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    made = plugin.YoloLayerPlugin(layer(), launch)
    assert made.get_output_data_types([]) == [
        trt.DataType.INT32,
        trt.DataType.FLOAT,
        trt.DataType.FLOAT,
        trt.DataType.INT32,
    ]
    monkeypatch.setattr(plugin.trt, "DimsExprs", list)
    heads = [(2, 24, *size) for size in sizes_of((640, 384))]
    assert made.get_output_shapes(heads, [], FakeExprs()) == [[2, 1], [2, 15120, 4], [2, 15120], [2, 15120]]


@pytest.mark.parametrize("position", range(7))
def test_plugin_takes_plain_tensors_only(plugin: types.ModuleType, position: int) -> None:
    made = plugin.YoloLayerPlugin(layer(), launch)
    types_of = trt.DataType
    for head in (types_of.FLOAT, types_of.HALF):
        kinds = [head] * 3 + [types_of.INT32, types_of.FLOAT, types_of.FLOAT, types_of.INT32]
        tensors = [FakeDesc((1,), kind) for kind in kinds]
        assert made.supports_format_combination(position, tensors, 3)
        tensors[position] = FakeDesc((1,), kinds[position], trt.TensorFormat.CHW32)
        assert not made.supports_format_combination(position, tensors, 3)
        tensors[position] = FakeDesc((1,), types_of.INT8)
        assert not made.supports_format_combination(position, tensors, 3)


def test_plugin_heads_of_mixed_types_are_refused(plugin: types.ModuleType) -> None:
    made = plugin.YoloLayerPlugin(layer(), launch)
    tensors = [FakeDesc((1,), trt.DataType.FLOAT), FakeDesc((1,), trt.DataType.HALF)]
    assert not made.supports_format_combination(1, tensors, 3)


def test_plugin_heads_of_other_channels_are_refused(plugin: types.ModuleType) -> None:
    made = plugin.YoloLayerPlugin(layer(classes=3), launch)
    made.on_shape_change([FakeDesc((1, 24, 8, 8), trt.DataType.FLOAT)], [])
    made.configure_plugin([FakeDesc((-1, -1, 8, 8), trt.DataType.FLOAT)], [])
    with pytest.raises(ValueError, match="expected heads of 24 channels, got 255"):
        made.on_shape_change([FakeDesc((1, 255, 8, 8), trt.DataType.FLOAT)], [])


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_plugin_enqueue_decodes_as_the_cpu(plugin: types.ModuleType, dtype: type[np.generic]) -> None:
    node = layer()
    sizes = sizes_of((96, 64))
    heads = [head.astype(dtype) for head in random_heads(node, sizes, batch=2, seed=1)]
    kind = trt.DataType.HALF if dtype is np.float16 else trt.DataType.FLOAT
    descs = [FakeDesc(head.shape, kind) for head in heads]
    made = plugin.YoloLayerPlugin(node, launch)
    cells = 3 * sum(rows * cols for rows, cols in sizes)
    count, boxes = np.zeros((2, 1), np.int32), np.zeros((2, cells, 4), np.float32)
    scores, classes = np.zeros((2, cells), np.float32), np.zeros((2, cells), np.int32)
    workspace = np.empty(made.get_workspace_size(descs, []), np.uint8)
    made.enqueue(
        descs,
        [],
        [head.ctypes.data for head in heads],
        [array.ctypes.data for array in (count, boxes, scores, classes)],
        workspace.ctypes.data,
        0,
    )
    got = types.SimpleNamespace(count=count[:, 0], boxes=boxes, scores=scores, classes=classes)
    require_equal_to_reference(node, heads, got)  # type: ignore[arg-type]


def test_plugin_enqueue_logs_before_tensorrt_swallows_it(
    plugin: types.ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_launch: Launch, _stream: int) -> None:
        raise RuntimeError("the device refused")

    descs = [FakeDesc((1, 24, *size), trt.DataType.FLOAT) for size in sizes_of((64, 64))]
    with pytest.raises(RuntimeError, match="refused"):
        plugin.YoloLayerPlugin(layer(), fail).enqueue(descs, [], [0, 0, 0], [0, 0, 0, 0], 0, 0)
    assert "YoloLayer_TRT could not run" in caplog.text


def test_creator_names_its_fields(plugin: types.ModuleType) -> None:
    creator = plugin.YoloLayerCreator(launch)
    assert (creator.name, creator.plugin_version, creator.plugin_namespace) == (OPERATOR, VERSION, NAMESPACE)
    assert [field.name for field in creator.field_names] == list(plugin.FIELDS)


@pytest.mark.parametrize("heads", [3, 4])
def test_creator_makes_the_node_from_its_attributes_and_from_its_own_serialisation(
    sound: types.ModuleType, heads: int
) -> None:
    creator = sound.YoloLayerCreator(launch)
    node = layer(classes=80, threshold=0.125, heads=heads, anchors=(10.0, 20.0) * 6 * heads)
    fields, _alive = node_fields(node)
    made = creator.create_plugin("YoloLayer", fields, trt.TensorRTPhase.BUILD)
    assert made.layer == node
    again = creator.create_plugin("YoloLayer", made.get_fields_to_serialize(), trt.TensorRTPhase.RUNTIME)
    assert again.layer == node
    assert [field.name for field in made.clone().get_fields_to_serialize()] == list(sound.FIELDS)


def test_creator_reads_an_engine_that_does_not_say_how_many_heads(sound: types.ModuleType) -> None:
    """As the first release made them: three."""
    _fields, alive = node_fields(layer())
    four = trt.PluginFieldCollection(alive[1][:4])
    assert sound.YoloLayerCreator(launch).create_plugin("n", four, trt.TensorRTPhase.RUNTIME).layer == layer()


def test_creator_reports_a_missing_or_impossible_attribute(
    plugin: types.ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    creator = plugin.YoloLayerCreator(launch)
    array = np.array([32], np.int32)
    only = trt.PluginFieldCollection([trt.PluginField("max_stride", array, trt.PluginFieldType.INT32)])
    assert creator.create_plugin("n", only, trt.TensorRTPhase.BUILD) is None
    assert "lacks the attribute num_classes, anchors, prenms_score_threshold" in caplog.text
    fields, alive = node_fields(layer())
    alive[0][0][0] = 31  # max_stride
    assert creator.create_plugin("n", fields, trt.TensorRTPhase.BUILD) is None
    assert "max_stride must be a multiple of 4, got 31" in caplog.text


def test_register_once_and_again(sound: types.ModuleType) -> None:
    sound.register(launch)
    sound.register(launch)
    registry = trt.get_plugin_registry()
    assert len(registry.all_creators) == 1
    assert registry.get_creator(OPERATOR, VERSION, NAMESPACE).name == OPERATOR
    assert registry.get_creator(OPERATOR, VERSION, "") is None


def test_register_taken_name_is_an_error(sound: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound, "_registered", [])
    registry = trt.get_plugin_registry()
    other = sound.YoloLayerCreator(launch)
    registry.register_creator(other, NAMESPACE)
    try:
        with pytest.raises(RuntimeError, match="the name is taken"):
            sound.register(launch)
    finally:
        registry.deregister_creator(other)


def test_register_with_bindings_that_misread_attributes_is_an_error(
    plugin: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Misreading:
        def __init__(self, _name: str, data: np.ndarray[Any, Any], _kind: object) -> None:
            self.data = np.repeat(data[:1], len(data))

    monkeypatch.setattr(plugin.trt, "PluginField", Misreading)
    with pytest.raises(RuntimeError, match=r"misread plugin attributes under numpy .*; install numpy below 2"):
        plugin.register(launch)
