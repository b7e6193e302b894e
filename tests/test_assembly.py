"""Which model runs where, and what is said about it."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import pytest
from pydantic import SecretStr

from edged.assembly.model import load_model, thresholds
from edged.assembly.options import mqtt_options
from edged.config.schema import Engine, Model, Mqtt
from edged.core.bundle import MODEL_INT8_CPU, Bundle
from edged.core.errors import BundleMismatch, ConfigError
from edged.cpu.processors import processor_name
from tests.handmade import edit_manifest, square_model, write_bundle


def bundle_with_int8(folder: Path) -> Path:
    """The same model twice, once under the name of an INT8 graph."""
    write_bundle(folder, input_wh=(64, 64))
    content = square_model((64, 64))
    (folder / "model.int8.onnx").write_bytes(content)
    record = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    edit_manifest(folder, files={"model.onnx": record, "model.int8.onnx": record}, precision="int8")
    return folder


@pytest.mark.parametrize(("asked", "runs"), [("auto", "fp32"), ("fp32", "fp32"), ("fp16", "fp32"), ("int8", "int8")])
def test_cpu_runs_fp32_unless_int8_is_asked_for(tmp_path: Path, asked: str, runs: str) -> None:
    bundle = bundle_with_int8(tmp_path)
    engine = Engine.model_validate({"precision": asked, "threads": 1, "backend": "cpu"})
    loaded = load_model(Model(bundle=bundle), engine)
    loaded.detector.close()
    assert loaded.backend == f"cpu {runs}, 1 core"


def test_cpu_runs_int8_by_itself_where_it_was_verified_here_and_is_faster(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle_with_int8(tmp_path)
    content = (tmp_path / "model.int8.onnx").read_bytes()
    (tmp_path / MODEL_INT8_CPU).write_bytes(content)
    record = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    report = {
        "passed": True,
        "file": MODEL_INT8_CPU,
        "processor": processor_name(),
        "one_core_ms": {"float32": 12.0, "candidate": 7.0},
    }
    edit_manifest(tmp_path, files={"model.onnx": record, MODEL_INT8_CPU: record}, precision="int8", report=report)
    with caplog.at_level(logging.INFO):
        loaded = load_model(Model(bundle=tmp_path), Engine(threads=1, backend="cpu"))
    loaded.detector.close()
    assert loaded.backend == "cpu int8, 1 core"
    assert "on the CPU squares runs as int8: verified on this processor, and faster than fp32" in caplog.text


def test_auto_backend_falls_back_to_the_cpu_and_says_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_bundle(tmp_path, input_wh=(64, 64))
    with caplog.at_level(logging.INFO):
        load_model(Model(bundle=tmp_path), Engine(threads=1)).detector.close()
    assert "running on the CPU: squares holds no fp32 engine for TensorRT" in caplog.text


def test_asked_for_tensorrt_is_never_replaced_silently(tmp_path: Path) -> None:
    write_bundle(tmp_path, input_wh=(64, 64))
    with pytest.raises(BundleMismatch, match="run: edged-provision build"):
        load_model(Model(bundle=tmp_path), Engine(backend="tensorrt"))


def test_precision_that_the_bundle_does_not_hold_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path, input_wh=(64, 64))
    with pytest.raises(BundleMismatch, match=r"holds no model\.int8\.onnx"):
        load_model(Model(bundle=tmp_path), Engine(precision="int8", backend="cpu"))


def test_mqtt_port_follows_tls_unless_said() -> None:
    assert mqtt_options(Mqtt()).port == 1883
    assert mqtt_options(Mqtt(host="far.example", tls=True)).port == 8883
    assert mqtt_options(Mqtt(port=1900)).port == 1900


def test_mqtt_password_without_a_user_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"\[mqtt\] a broker password is given without a username"):
        mqtt_options(Mqtt.model_construct(password=SecretStr("x")))


def test_a_class_name_selects_every_class_of_that_name(tmp_path: Path) -> None:
    write_bundle(tmp_path, input_wh=(64, 64))
    edit_manifest(tmp_path, classes=["car", "person", "car"])
    chosen = thresholds(Model(bundle=tmp_path, classes=("car",)), Bundle.open(tmp_path))
    assert chosen.class_ids == {0, 2}
