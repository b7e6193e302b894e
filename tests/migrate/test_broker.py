"""Frigate's `mqtt` as edged's `[mqtt]` and `[publish]`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.migrate.migrated import MINIMAL, Migrated, migrated


def broker(folder: Path, keys: str) -> Migrated:
    return migrated(folder, MINIMAL.replace("host: localhost", keys.replace("\n", "\n      ")))


def given(made: Migrated) -> dict[str, object]:
    return made.settings.mqtt.model_dump(exclude_unset=True, mode="json")


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        pytest.param("host: localhost", {"host": "localhost"}, id="here"),
        pytest.param("host: 10.0.0.5", {"host": "10.0.0.5", "tls": False}, id="elsewhere-in-the-clear"),
        pytest.param("host: broker\nport: 8883", {"host": "broker", "port": 8883, "tls": False}, id="port-alone"),
        pytest.param(
            "host: broker\ntls_ca_certs: /ca.crt",
            {"host": "broker", "port": 1883, "tls": True, "ca_file": "/ca.crt"},
            id="tls-on-frigates-port",
        ),
        pytest.param(
            "host: broker\nport: 8883\ntls_ca_certs: /ca\ntls_client_cert: /c\ntls_client_key: /k\ntls_insecure: true",
            {
                "host": "broker",
                "port": 8883,
                "tls": True,
                "ca_file": "/ca",
                "cert_file": "/c",
                "key_file": "/k",
                "insecure": True,
            },
            id="tls-with-all",
        ),
        pytest.param(
            "host: broker\nport: 8883\ntls_ca_certs: /ca\ntls_client_cert: /c",
            {"host": "broker", "port": 8883, "tls": True, "ca_file": "/ca"},
            id="half-a-certificate",
        ),
        pytest.param(
            "host: b\ntls_client_cert: /c\ntls_client_key: /k", {"host": "b", "tls": False}, id="no-authority"
        ),
        pytest.param("host: h\nuser: nvr\npassword: x", {"host": "h", "tls": False, "username": "nvr"}, id="user"),
        pytest.param("host: h\nclient_id: nvr", {"host": "h", "tls": False, "client_id": "nvr"}, id="client"),
        pytest.param(
            "host: localhost\nport: 9001\ntransport: websockets",
            {"host": "localhost", "port": 9001, "transport": "websockets"},
            id="websockets",
        ),
        pytest.param(
            "host: localhost\ntransport: websockets",
            {"host": "localhost", "port": 1883, "transport": "websockets"},
            id="websockets-on-frigates-port",
        ),
        pytest.param("host: localhost\ntransport: tcp", {"host": "localhost"}, id="tcp"),
        pytest.param("enabled: false", {}, id="without"),
        pytest.param("host: mqtt://me:Hidden1@h", {}, id="address-for-a-name"),
        pytest.param("host: localhost\nport: 99999", {"host": "localhost"}, id="port-that-cannot-be"),
    ],
)
def test_broker(tmp_path: Path, keys: str, expected: dict[str, object]) -> None:
    made = broker(tmp_path, keys)
    assert given(made) == expected
    assert "Hidden" not in made.text


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (
            "topic_prefix: nvr",
            "# topic_prefix: edged has topics of its own (docs/messages.md), and Frigate's as well where",
        ),
        ("password: Hidden1", '# password_file = "/etc/edged/mqtt-password"'),
        (
            "user: '{FRIGATE_MQTT_USER}'",
            "# username: Frigate has it in FRIGATE_MQTT_USER; write it here, or set EDGED_MQTT__USERNAME",
        ),
        (
            "password: '{FRIGATE_MQTT_PASSWORD}'",
            "# password: Frigate has it in FRIGATE_MQTT_PASSWORD; give it as the systemd credential",
        ),
        (
            "enabled: false",
            "# Frigate did without MQTT (enabled: false); edged says what it sees over MQTT alone: name a broker",
        ),
        ("transport: unix", '# transport: edged knows "tcp" and "websockets": name the broker\'s port for one of them'),
        (
            "tls_insecure: true",
            "# tls_insecure: left out; Frigate speaks no TLS without tls_ca_certs",
        ),
        ("sparkle: 1", "# sparkle: edged has nothing like it"),
        ("host: mqtt://h:1884", '# host: mqtt:// does not belong there: say host = "h", port = 1884'),
    ],
)
def test_broker_remarks(tmp_path: Path, keys: str, line: str) -> None:
    made = broker(tmp_path, keys)
    assert f"\n{line}" in made.text
    assert "Hidden" not in made.text


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("qos: 1\nstats_interval: 30", {"qos": 1, "stats_interval_s": 30}),
        ("qos: 2", {"qos": 1}),
        ("stats_interval: 0", {}),
        ("qos: 0.5", {}),
    ],
)
def test_rates_of_publishing(tmp_path: Path, keys: str, expected: dict[str, object]) -> None:
    made = broker(tmp_path, f"host: localhost\n{keys}")
    assert made.settings.publish.model_dump(exclude_unset=True) == expected


@pytest.mark.parametrize(("level", "expected"), [("critical", "error"), ("WARNING", "warning"), ("loud", "info")])
def test_log_level(tmp_path: Path, level: str, expected: str) -> None:
    made = migrated(tmp_path, MINIMAL + f"    logger: {{default: {level}}}\n")
    assert made.settings.log.level == expected
