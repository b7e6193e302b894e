"""Converts settings to the options of capture and publisher."""

from __future__ import annotations

from collections.abc import Sequence

from edged.capture.spec import CameraSpec, ReadOptions
from edged.config.camera import Camera
from edged.config.schema import Mqtt, Publish
from edged.core.errors import ConfigError
from edged.core.options import shared
from edged.core.paths import state_directory
from edged.publish.options import DAY_S, MqttOptions, OutboxOptions, SessionOptions, TlsOptions

# By transport and encryption.
MQTT_PORTS = {("tcp", False): 1883, ("tcp", True): 8883, ("websockets", False): 80, ("websockets", True): 443}


def camera_specs(cameras: Sequence[Camera]) -> list[CameraSpec]:
    """Capture's options for the configured cameras.

    Raises:
        ConfigError: a value that capture refuses, e.g. a source.
    """
    try:
        return [
            CameraSpec(camera.name, camera.source_with_credentials(), **shared(ReadOptions, camera))
            for camera in cameras
        ]
    except ValueError as exc:
        raise ConfigError(f"[[camera]] {exc}") from exc


def mqtt_options(mqtt: Mqtt) -> MqttOptions:
    """The publisher's options for the configured broker.

    Raises:
        ConfigError: settings that contradict each other.
    """
    try:
        tls = TlsOptions(**shared(TlsOptions, mqtt)) if mqtt.uses_tls else None
        return MqttOptions(
            host=mqtt.host,
            port=mqtt.port or MQTT_PORTS[mqtt.transport, tls is not None],
            username=mqtt.username,
            password=mqtt.password.get_secret_value(),
            tls=tls,
            **shared(SessionOptions, mqtt),
        )
    except ValueError as exc:
        raise ConfigError(f"[mqtt] {exc}") from exc


def outbox_options(publish: Publish, *, device: str) -> OutboxOptions | None:
    """Options of the outbox; None where nothing is durable."""
    if publish.durable == "none":
        return None
    return OutboxOptions(
        directory=publish.outbox or state_directory(device) / "outbox",
        max_bytes=publish.outbox_max_mb << 20,
        max_age_s=publish.outbox_max_days * DAY_S,
        detections=publish.durable == "all",
    )
