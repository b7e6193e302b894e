"""From frames to the INT8 graph: what the calibration sees, and when its cache counts."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from edged.core.errors import DataError, EdgedError
from edged.cpu.preprocess import letterbox_image, to_network_input
from provisioning.frames.frameset import FrameSet
from provisioning.frames.sample import sample
from provisioning.quantize import cache as cache_module
from provisioning.quantize.int8 import quantize
from provisioning.quantize.thresholds import METHODS, Method

INPUT_WH = (96, 64)


@pytest.mark.parametrize("method", METHODS)
def test_quantize_gives_a_graph_that_runs(
    network: onnx.ModelProto, frames: FrameSet, tmp_path: Path, method: Method
) -> None:
    result = quantize(network, frames, method=method, cache=tmp_path / "c.json")
    session = ort.InferenceSession(result.model.SerializeToString())
    heads = session.run(None, {"images": np.zeros((2, 3, 64, 96), np.float32)})
    assert [np.asarray(head).shape for head in heads] == [(2, 24, 8, 12), (2, 24, 4, 6), (2, 24, 2, 3)]
    assert (result.method, result.frames, result.reused) == (method, 6, False)


def test_quantize_sees_frames_as_the_daemon_does(network: onnx.ModelProto, frames: FrameSet, tmp_path: Path) -> None:
    result = quantize(network, frames, method="minmax", cache=tmp_path / "c.json")
    inputs = [to_network_input(letterbox_image(pixels, INPUT_WH)[0]) for pixels in frames.pictures("calibration")]
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in result.model.graph.initializer}
    assert float(values["images_scale"]) == pytest.approx(max(blob.max() for blob in inputs) / 127, rel=5e-3)


def test_quantize_never_looks_at_verification_frames(
    network: onnx.ModelProto, frames: FrameSet, tmp_path: Path
) -> None:
    for frame in frames.of("verification"):
        (frames.folder / frame.file).unlink()
    assert quantize(network, frames, method="entropy", cache=tmp_path / "c.json").frames == 6


def test_calibration_is_reused_when_everything_matches(
    network: onnx.ModelProto, frames: FrameSet, tmp_path: Path
) -> None:
    first = quantize(network, frames, method="entropy", cache=tmp_path / "c.json")
    for frame in frames.frames:  # so that a second calibration could not even run
        (frames.folder / frame.file).unlink()
    again = quantize(network, frames, method="entropy", cache=tmp_path / "c.json")
    assert again.reused
    assert again.model.SerializeToString() == first.model.SerializeToString()
    assert again.cpu.SerializeToString() == first.cpu.SerializeToString()
    # The passes for entropy give the other methods for nothing.
    assert quantize(network, frames, method="minmax", cache=tmp_path / "c.json").reused


def test_calibration_is_not_reused_for_other_weights(
    network: onnx.ModelProto, frames: FrameSet, tmp_path: Path
) -> None:
    quantize(network, frames, method="minmax", cache=tmp_path / "c.json")
    other = onnx.ModelProto()
    other.CopyFrom(network)
    bias = next(tensor for tensor in other.graph.initializer if tensor.dims == [16])
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(1e-3), bias.name))
    assert not quantize(other, frames, method="minmax", cache=tmp_path / "c.json").reused


def test_calibration_is_not_reused_for_other_frames(network: onnx.ModelProto, frames: FrameSet, tmp_path: Path) -> None:
    quantize(network, frames, method="minmax", cache=tmp_path / "c.json")
    cv2.imwrite(str(tmp_path / "pictures" / "0.png"), np.full((48, 80, 3), 9, np.uint8))
    others = sample([str(tmp_path / "pictures")], tmp_path / "others", count=6, verification=2)
    assert not quantize(network, others, method="minmax", cache=tmp_path / "c.json").reused


def test_calibration_is_not_reused_after_preprocessing_changed(
    network: onnx.ModelProto, frames: FrameSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quantize(network, frames, method="minmax", cache=tmp_path / "c.json")
    monkeypatch.setattr(cache_module, "PREPROCESSING", "centre crop")
    assert not quantize(network, frames, method="minmax", cache=tmp_path / "c.json").reused


def test_calibration_of_another_method_is_made_anew(network: onnx.ModelProto, frames: FrameSet, tmp_path: Path) -> None:
    quantize(network, frames, method="minmax", cache=tmp_path / "c.json")
    assert not quantize(network, frames, method="entropy", cache=tmp_path / "c.json").reused


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda text: text[: len(text) // 2], id="torn"),
        pytest.param(lambda text: text.replace("images", "elsewhere"), id="other-tensors"),
        pytest.param(lambda text: text.replace("edged.calibration/2", "edged.calibration/0"), id="other-schema"),
        pytest.param(lambda _text: "[]", id="other-shape"),
        pytest.param(lambda text: json.dumps(_with_negative(json.loads(text))), id="negative"),
        pytest.param(lambda text: json.dumps(_with_empty_range(json.loads(text))), id="empty-range"),
        pytest.param(lambda text: json.dumps({**json.loads(text), "cpu": {}}), id="no-ranges-for-the-cpu"),
    ],
)
def test_a_damaged_cache_is_never_used(
    network: onnx.ModelProto, frames: FrameSet, tmp_path: Path, damage: object
) -> None:
    path = tmp_path / "c.json"
    good = quantize(network, frames, method="minmax", cache=path)
    path.write_text(damage(path.read_text()))  # type: ignore[operator]
    again = quantize(network, frames, method="minmax", cache=path)
    assert not again.reused
    assert again.model.SerializeToString() == good.model.SerializeToString()
    assert again.cpu.SerializeToString() == good.cpu.SerializeToString()


def _with_empty_range(raw: dict[str, dict[str, object]]) -> object:
    raw["cpu"]["images"] = [0.5, 0.25]
    return raw


def _with_negative(raw: dict[str, dict[str, dict[str, float]]]) -> object:
    raw["thresholds"]["minmax"]["images"] = -1.0
    return raw


def test_quantize_of_a_model_that_takes_no_pictures_is_refused(frames: FrameSet, tmp_path: Path) -> None:
    vector = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 7])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [vector], [vector])
    graph.output[0].name = "y"
    with pytest.raises(DataError, match=r"one input \(B, 3, H, W\)"):
        quantize(onnx.helper.make_model(graph), frames, method="minmax", cache=tmp_path / "c.json")


def test_quantize_into_a_missing_folder_says_so(network: onnx.ModelProto, frames: FrameSet, tmp_path: Path) -> None:
    with pytest.raises(EdgedError, match="cannot be written"):
        quantize(network, frames, method="minmax", cache=tmp_path / "missing" / "c.json")
