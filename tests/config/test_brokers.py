"""[mqtt] for brokers behind WebSockets and for those of clouds: what is taken, and what contradicts itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.assembly.options import mqtt_options
from edged.config import load_settings
from edged.core.errors import ConfigError

CAMERA = '[[camera]]\nname = "gate"\nsource = "test:"\n'


def written(folder: Path, mqtt: str, more: str = "") -> Path:
    path = folder / "edged.toml"
    path.write_text(f"[mqtt]\n{mqtt}\n{more}\n{CAMERA}")
    return path


@pytest.mark.parametrize(
    ("mqtt", "address"),
    [
        ("", "localhost:1883"),
        ("tls = true", "localhost:8883"),
        ('transport = "websockets"', "ws://localhost:80/mqtt"),
        ('transport = "websockets"\ntls = true\npath = "/$iothub/websocket"', "wss://localhost:443/$iothub/websocket"),
        ('transport = "websockets"\nca_file = "ca.pem"\nport = 8084', "wss://localhost:8084/mqtt"),
        ('transport = "websockets"\nport = 8083\npath = "/"', "ws://localhost:8083/"),
    ],
)
def test_broker_has_the_port_that_is_usual_for_its_transport(tmp_path: Path, mqtt: str, address: str) -> None:
    assert mqtt_options(load_settings(written(tmp_path, mqtt)).mqtt).address == address


@pytest.mark.parametrize(
    ("alpn", "names"), [('"x-amzn-mqtt-ca"', ("x-amzn-mqtt-ca",)), ('["a", "b"]', ("a", "b")), ("[]", ())]
)
def test_alpn_is_one_name_or_several(tmp_path: Path, alpn: str, names: tuple[str, ...]) -> None:
    options = mqtt_options(load_settings(written(tmp_path, f"tls = true\nalpn = {alpn}")).mqtt)
    assert options.tls is not None
    assert options.tls.alpn == names


def test_alpn_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGED_MQTT__ALPN", "x-amzn-mqtt-ca,mqtt")
    assert load_settings(written(tmp_path, "tls = true")).mqtt.alpn == ("x-amzn-mqtt-ca", "mqtt")


@pytest.mark.parametrize(
    ("mqtt", "problem"),
    [
        ('alpn = "mqtt"', "edged.toml:1: [mqtt]: alpn is part of TLS, which is off: say tls = true, or remove alpn"),
        ('tls = true\nalpn = ["a b"]', '3: [mqtt] alpn: alpn holds names of protocols, as "x-amzn-mqtt-ca", got'),
        ("tls = true\nalpn = 3", "3: [mqtt] alpn: expected a list"),
        ('path = "/ws"', ':1: [mqtt]: path is that of a WebSocket: say transport = "websockets", or remove path'),
        ('transport = "websockets"\npath = "ws?token=hunter2"', '3: [mqtt] path: path must begin with "/"'),
        ('transport = "quic"', "2: [mqtt] transport: input should be 'tcp' or 'websockets', got 'quic'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path: Path, mqtt: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(written(tmp_path, mqtt))
    assert problem in str(caught.value)
    assert "hunter2" not in str(caught.value)
