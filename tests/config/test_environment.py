"""What the environment says is heeded, or said to be wrong; never passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.config import load_settings
from edged.core.errors import ConfigError
from provisioning.recipe.settings import read_settings

TWO = """
[[camera]]
name = "gate"
source = "rtsp://10.0.0.9/s"
username = "viewer"
[[camera]]
name = "back-yard"
source = "rtsp://10.0.0.10/s"
username = "viewer"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "edged.toml"
    path.write_text(TWO)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("variable", "source"),
    [
        ("EDGED_CAMERA__GATE__PASSWORD", "rtsp://viewer:hunter2@10.0.0.9/s"),
        ("EDGED_CAMERA__0__PASSWORD", "rtsp://viewer:hunter2@10.0.0.9/s"),
        ("EDGED_CAMERA__BACK_YARD__PASSWORD", "rtsp://viewer:hunter2@10.0.0.10/s"),
        ("EDGED_CAMERA__back-yard__PASSWORD", "rtsp://viewer:hunter2@10.0.0.10/s"),
        ("EDGED_CAMERA__1__PASSWORD", "rtsp://viewer:hunter2@10.0.0.10/s"),
    ],
)
def test_a_camera_is_meant_by_its_name_or_number(
    config: Path, monkeypatch: pytest.MonkeyPatch, variable: str, source: str
) -> None:
    monkeypatch.setenv(variable, "hunter2")
    assert source in [camera.source_with_credentials() for camera in load_settings(config).camera]


def test_numbers_and_flags_come_as_text(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"CAMERA__GATE__ROTATE": "90", "CAMERA__GATE__LOOP": "false", "PUBLISH__QOS": "1"}.items():
        monkeypatch.setenv(f"EDGED_{name}", value)
    settings = load_settings(config)
    assert (settings.camera[0].rotate, settings.camera[0].loop, settings.publish.qos) == (90, False, 1)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("EDGED_MQTT_PORT", "1884", "not read; two underscores divide section and key: EDGED_MQTT__PORT"),
        ("EDGED_PASSWORD", "hunter2", "two underscores divide section and key: EDGED_MQTT__PASSWORD"),
        ("EDGED_CAMERA_GATE_PASSWORD", "hunter2", "section and key: EDGED_CAMERA__GATE__PASSWORD"),
        ("EDGED_CAMERA_PASSWORD", "hunter2", "section and key: EDGED_CAMERA__NAME__PASSWORD"),
        ("EDGED_MQT__PORT", "1884", "no such section; did you mean EDGED_MQTT__PORT?"),
        ("EDGED_MQTT__PROT", "1884", '[mqtt] prot: unknown key; did you mean "port"?'),
        ("EDGED_CAMERA__2__PASSWORD", "hunter2", "no such camera in the file; there are: gate, back-yard; write"),
        ("EDGED_CAMERA__YARD__PASSWORD", "hunter2", "no such camera in the file; there are: gate, back-yard; write"),
        ("EDGED_CAMERA__GATE__PASWORD", "hunter2", 'pasword: unknown key; did you mean "password"?'),
        ("EDGED_CAMERA__GATE__FPS", "many", "[[camera]] number 1 fps: input should be a valid number"),
        ("EDGED_MODEL__CLASSES", '["person"', "expected JSON; or set single keys"),
        ("EDGED_MQTT", '{"password": "hunter2"', "expected JSON; or set single keys"),
        ("EDGED_CAMERA", "rtsp://u:hunter2@h/", "expected JSON; or set single keys"),
    ],
)
def test_a_variable_that_would_not_be_read_is_named(
    config: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as caught:
        load_settings(config)
    assert f"environment {variable}: " in str(caught.value)
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("EDGED_STORE", "/srv/models"),
        ("EDGED_SERVICE_HOST", "10.0.0.1"),  # of Kubernetes, for a service that is called edged
        ("EDGED_MQTT_PORT", "tcp://10.0.0.1:1883"),  # the same, called edged-mqtt
        ("EDGED_PORT", "tcp://10.0.0.1:1883"),
    ],
)
def test_variables_of_others_are_left_alone(
    config: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert load_settings(config).mqtt.port is None


def test_provisioning_says_that_it_reads_the_file_only(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGED_PROVISION__WEIGHTS", "yolov5n")
    with pytest.raises(ConfigError, match=r"environment EDGED_PROVISION__WEIGHTS: not read; write it below"):
        read_settings(config)
