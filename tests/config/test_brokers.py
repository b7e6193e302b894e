"""[mqtt] for brokers behind WebSockets and for those of clouds: what is taken, and what contradicts itself."""

from __future__ import annotations

import re
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
    "mqtt",
    [
        'topic = "dt/{device}/{camera}/{kind}"',
        'topic = "$aws/rules/edged/{camera}/{kind}"',
        'topic = "devices/a/messages/events/"\nretain = false',
        'topic = "devices/a/messages/events/$.ct=application%2Fjson&kind={kind}"\nretain = false',
        'topic = "{device}"\nretain = false\nprefix = "edged"',
        "retain = false",
    ],
)
def test_topics_of_a_cloud_are_taken(tmp_path: Path, mqtt: str) -> None:
    assert load_settings(written(tmp_path, mqtt)).mqtt.topic in mqtt


DOCUMENT = Path(__file__).parents[2] / "docs" / "brokers.md"
EXAMPLES = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize(
    ("example", "address"),
    [
        *zip(
            EXAMPLES,
            [
                "wss://broker.example:443/mqtt",
                "abcdefghijklmn-ats.iot.eu-central-1.amazonaws.com:443",
                "contoso.azure-devices.net:8883",
            ],
            strict=True,
        )
    ],
)
def test_examples_in_the_document_are_taken(tmp_path: Path, example: str, address: str) -> None:
    (tmp_path / "sas-token").write_text("SharedAccessSignature sr=x&sig=y&se=1\n")
    text = example.replace("/etc/edged/sas-token", str(tmp_path / "sas-token")).removeprefix("[mqtt]\n")
    assert mqtt_options(load_settings(written(tmp_path, text)).mqtt).address == address


@pytest.mark.parametrize("key", ["home_assistant = true", 'frigate_prefix = "frigate"'])
@pytest.mark.parametrize(
    ("mqtt", "reason"),
    [
        ('topic = "a/{camera}/{kind}"', "[mqtt] topic is set, so that no other topics are used"),
        ("retain = false", "[mqtt] retain is false"),
    ],
)
def test_topics_of_others_need_a_broker_that_takes_them(tmp_path: Path, mqtt: str, reason: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(written(tmp_path, mqtt, f"[publish]\n{key}"))
    named = key.split(" = ", maxsplit=1)[0]
    assert f"edged.toml:4: [publish] {named}: " in str(caught.value)
    assert f"but {reason}; remove one of them" in str(caught.value)


@pytest.mark.parametrize(
    ("mqtt", "problem"),
    [
        ('alpn = "mqtt"', "edged.toml:1: [mqtt]: alpn is part of TLS, which is off: say tls = true, or remove alpn"),
        ('tls = true\nalpn = ["a b"]', '3: [mqtt] alpn: alpn holds names of protocols, as "x-amzn-mqtt-ca", got'),
        ("tls = true\nalpn = 3", "3: [mqtt] alpn: expected a list"),
        ('path = "/ws"', ':1: [mqtt]: path is that of a WebSocket: say transport = "websockets", or remove path'),
        ('transport = "websockets"\npath = "ws?token=hunter2"', '3: [mqtt] path: path must begin with "/"'),
        ('topic = "a/{kind}"', "[mqtt]: the broker retains one message a topic, and this topic is the same"),
        ('topic = "a/{camera}/{kind}"\nprefix = "b"', "[mqtt]: topic and prefix are both given: write the prefix into"),
        ('topic = "a/{label}"', "2: [mqtt] topic: topic knows {device}, {camera} and {kind}, got {label}"),
        ('topic = "a/{kind"', "2: [mqtt] topic: topic has a brace without its partner"),
        ('topic = "a/#"', "2: [mqtt] topic: topic must be a topic without + # control characters"),
        ('transport = "quic"', "2: [mqtt] transport: input should be 'tcp' or 'websockets', got 'quic'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path: Path, mqtt: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(written(tmp_path, mqtt))
    assert problem in str(caught.value)
    assert "hunter2" not in str(caught.value)
