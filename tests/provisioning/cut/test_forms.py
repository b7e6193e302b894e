"""One network, exported in every way: the importer makes the same plain graph of all, for INT8 and FP16, too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper
from onnxruntime import quantization

from edged.core.bundle import Bundle
from edged.core.errors import DataError
from edged.core.types import Floats
from edged.cpu.detector import CpuDetector
from provisioning.cut.heads import cut_at_heads
from provisioning.data.pictures import read_picture
from provisioning.export import IR_VERSION, OPSET
from provisioning.importing import export_checkpoint, export_model
from provisioning.model.description import COCO_ANCHORS
from provisioning.model.network import Yolov5
from provisioning.quantize.calibration import measure_quantiles, measure_ranges, thresholds
from provisioning.quantize.for_cpu import for_cpu, quantised_tensors
from provisioning.quantize.placement import named, with_qdq
from provisioning.quantize.typed import with_fp16
from provisioning.store import Store
from provisioning.verify.agreement import agreement
from provisioning.verify.observe import SERVICE, Observation, observe
from tests.provisioning.networks import onnx_of, short
from tests.provisioning.yolo_exports import (
    BoxesAndScores,
    Corners,
    WithDecode,
    exported,
    in_half_with_single_ends,
    resized_along_axes,
    simplified,
    suppressed,
)

NAMES = ("cat", "dog")
COCO = ("person", "bicycle", "car", *(f"c{number}" for number in range(3, 80)))
METADATA = "{'0': 'cat', '1': 'dog'}"  # keys as JSON has them
FORMS: dict[str, Callable[[Yolov5], bytes]] = {
    "older exporter": lambda net: exported(WithDecode(net), opset=17, names=METADATA),
    "opset 11": lambda net: exported(WithDecode(net), opset=11, names=METADATA),
    "dynamic": lambda net: exported(WithDecode(net), opset=17, dynamic=True, names=METADATA),
    "simplified": lambda net: simplified(exported(WithDecode(net), opset=17, names=METADATA)),
    "opset 20": lambda net: simplified(exported(WithDecode(net), opset=20, names=METADATA)),
    "axes": lambda net: resized_along_axes(exported(WithDecode(net), opset=18, names=METADATA)),
    "boxes and scores": lambda net: exported(BoxesAndScores(net), names=METADATA),
    "corners": lambda net: exported(Corners(net), opset=17, names=METADATA),
    "with NMS": lambda net: suppressed(exported(WithDecode(net), opset=17, names=METADATA)),
    "half": lambda net: in_half_with_single_ends(exported(WithDecode(net), opset=17, names=METADATA)),
}


@pytest.fixture(scope="module", params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(form: str) -> onnx.ModelProto:
    return _imported(form)


def _imported(form: str) -> onnx.ModelProto:
    cut = cut_at_heads(FORMS[form](short()), input_wh=(96, 64))
    assert (cut.names, cut.strides) == (NAMES, (8, 16, 32))
    np.testing.assert_allclose(np.array(cut.anchors), COCO_ANCHORS, rtol=2e-4)
    return onnx.load_model_from_string(cut.onnx)


def _heads(model: onnx.ModelProto, blob: np.ndarray[tuple[int, ...], np.dtype[np.floating]]) -> Floats:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate([np.asarray(head, np.float32).ravel() for head in session.run(None, {"images": blob})])


def _pictures(count: int) -> Floats:
    return np.random.default_rng(9).random((count, 3, 64, 96), np.float32)


def test_every_form_gives_what_the_network_gives(form: str, model: onnx.ModelProto) -> None:
    blob = _pictures(3)
    with torch.no_grad():
        expected = torch.cat([head.flatten() for head in short().sigmoid_maps(torch.from_numpy(blob))])
    np.testing.assert_allclose(_heads(model, blob), expected.numpy(), atol=0.02 if form == "half" else 2e-4)


def test_every_form_becomes_the_graph_of_our_own_export(model: onnx.ModelProto) -> None:
    own = onnx.load_model_from_string(onnx_of(short(), input_wh=(96, 64), names=NAMES))
    kinds = [Counter(node.op_type for node in each.graph.node) for each in (own, model)]
    assert kinds[1] == kinds[0]
    assert [entry.version for entry in model.opset_import] == [OPSET]
    assert model.ir_version == IR_VERSION
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)  # paths of another's machine


@pytest.mark.parametrize("form", ["older exporter", "opset 11"])
def test_forms_can_be_quantised_and_typed(form: str) -> None:
    """Two of them do, for the test above found all to be one graph."""
    model = _imported(form)
    blobs = [_pictures(1), 1 - _pictures(1)]
    plain = named(model)
    ranges = measure_ranges(plain, blobs, total=2)
    int8 = with_qdq(plain, thresholds("minmax", ranges, {}))
    spans = measure_quantiles(plain, quantised_tensors(plain), blobs, total=2)
    on_cpu = for_cpu(plain, {name: (span.low, span.high) for name, span in spans.items()})
    expected = _heads(model, blobs[0])
    for made in (int8, on_cpu):
        assert np.abs(_heads(made, blobs[0]) - expected).mean() < 0.05
    for source, limit in ((model, 4e-3), (int8, 0.05)):  # INT8 of random weights magnifies rounding
        typed = _heads(with_fp16(source), blobs[0].astype(np.float16))
        assert np.abs(typed - _heads(source, blobs[0])).mean() < limit


def test_a_dynamically_quantised_export(tmp_path: Path) -> None:
    """As ONNX Runtime's tool writes it."""
    content = exported(WithDecode(short()), opset=17, names=METADATA)
    quantization.quantize_dynamic(onnx.load_model_from_string(content), tmp_path / "quantised.onnx")
    quantised = (tmp_path / "quantised.onnx").read_bytes()
    cut = cut_at_heads(quantised)
    np.testing.assert_allclose(np.array(cut.anchors), COCO_ANCHORS, rtol=2e-4)
    model = onnx.load_model_from_string(cut.onnx)
    assert {node.op_type for node in model.graph.node} == {
        "Conv",
        "Sigmoid",
        "Mul",
        "Add",
        "Concat",
        "MaxPool",
        "Resize",
    }
    blob = _pictures(1)
    with torch.no_grad():
        expected = torch.cat([head.flatten() for head in short().sigmoid_maps(torch.from_numpy(blob))]).numpy()
    assert np.corrcoef(_heads(model, blob), expected)[0, 1] > 0.99


def test_weights_beside_the_file_give_the_same_model(tmp_path: Path) -> None:
    """Torch's newer exporter writes large models so."""
    model = onnx.load_model_from_string(exported(WithDecode(short()), opset=17, names=METADATA))
    onnx.save(model, tmp_path / "one.onnx")
    onnx.save(model, tmp_path / "apart.onnx", save_as_external_data=True, location="apart.data", size_threshold=0)
    one, apart = (export_model(tmp_path / name, name="n") for name in ("one.onnx", "apart.onnx"))
    assert (tmp_path / "apart.data").stat().st_size > 10 * (tmp_path / "apart.onnx").stat().st_size
    assert apart.onnx == one.onnx
    (tmp_path / "apart.data").unlink()
    with pytest.raises(DataError, match=r"apart\.data"):
        export_model(tmp_path / "apart.onnx", name="n")


def _with_around_pool(*kinds: str, **shapes: list[int]) -> bytes:
    """An export with two nodes before its first MaxPool; each reads the shape or the axes that is its name's."""
    model = onnx.load_model_from_string(simplified(exported(WithDecode(short()), opset=17, names=METADATA)))
    pool = next(node for node in model.graph.node if node.op_type == "MaxPool")
    place, tensor = list(model.graph.node).index(pool), pool.input[0]
    for kind, (name, values) in zip(kinds, shapes.items(), strict=True):
        model.graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))
        model.graph.node.insert(place, helper.make_node(kind, [tensor, name], [f"{name} made"]))
        tensor, place = f"{name} made", place + 1
    pool.input[0] = tensor
    content: bytes = model.SerializeToString()
    return content


def test_cut_frees_a_batch_that_was_made_one_with_the_channels() -> None:
    content = _with_around_pool("Reshape", "Reshape", flat=[128, 1, 2, 3], back=[1, 128, 2, 3])
    model = onnx.load_model_from_string(cut_at_heads(content).onnx)
    blob = _pictures(2)
    apart = np.stack([_heads(model, picture[None]) for picture in blob])
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    together = np.concatenate([head.reshape(2, -1) for head in session.run(None, {"images": blob})], axis=1)
    np.testing.assert_allclose(together, apart, atol=1e-6)


def test_cut_refuses_a_backbone_for_one_picture() -> None:
    content = _with_around_pool("Squeeze", "Unsqueeze", first=[0], again=[0])
    with pytest.raises(DataError, match=r"takes one batch size only: at node .* \(Squeeze\).*--dynamic"):
        cut_at_heads(content)


@pytest.fixture(scope="module")
def official(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Observation:
    bundle = export_checkpoint(test_data / "weights" / "yolov5n.pt", name="n", input_wh=(320, 320)).add_to(
        Store(tmp_path_factory.mktemp("official"))
    )
    return _seen(bundle, test_data)


def _seen(bundle: Bundle, test_data: Path) -> Observation:
    files = [*sorted((test_data / "images").iterdir()), *sorted((test_data / "datasets/coco128").rglob("*.jpg"))[:16]]
    pictures = [read_picture(file) for file in files]
    with closing(CpuDetector(bundle, thresholds=SERVICE)) as detector:
        return observe(detector, pictures, limits=SERVICE, label="", total=len(pictures))


@pytest.mark.parametrize("file", ["plain", "simp", "dynamo", "boxscore", "half_keepio"])
def test_real_exports_find_the_boxes_of_the_weights(
    test_data: Path, tmp_path: Path, official: Observation, file: str
) -> None:
    path = test_data / "reports" / "provisioning" / "exports" / f"{file}.onnx"
    names = COCO if file == "boxscore" else ()  # it says nothing of itself
    exported = export_model(path, name="n", names=names)
    assert exported.manifest.classes[2] == "car"
    kinds = {node.op_type for node in onnx.load_model_from_string(exported.onnx).graph.node}
    assert kinds == {"Conv", "Sigmoid", "Mul", "Add", "Concat", "MaxPool", "Resize"}  # INT8 and FP16 take no others
    found = _seen(exported.add_to(Store(tmp_path)), test_data)
    compared = agreement(official.detections, found.detections)
    assert compared.reference_boxes > 30
    assert compared.f1 == 1
    half = file == "half_keepio"  # its weights were rounded
    assert compared.mean_iou > (0.98 if half else 0.9999)
    assert compared.max_score_difference < (0.02 if half else 1e-4)
