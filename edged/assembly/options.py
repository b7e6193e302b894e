"""Settings in the terms of the stages that they are for."""

from __future__ import annotations

from collections.abc import Sequence

from edged.capture.spec import CameraSpec
from edged.config.schema import Camera, Mqtt, Publish
from edged.core.errors import ConfigError
from edged.publish.options import MqttOptions, OutboxOptions, TlsOptions

MQTT_PORT = 1883
MQTT_TLS_PORT = 8883


def camera_specs(cameras: Sequence[Camera]) -> list[CameraSpec]:
    """The configured cameras in capture's terms.

    Raises:
        ConfigError: a camera that cannot be, e.g. an impossible source.
    """
    try:
        return [
            CameraSpec(
                name=camera.name,
                source=camera.source_with_credentials(),
                pace=camera.pace,
                loop=camera.loop,
                fps=camera.fps,
                rotate=camera.rotate,
                open_timeout_s=camera.open_timeout_s,
                read_timeout_s=camera.read_timeout_s,
                max_pixels=camera.max_pixels,
                frozen_after_s=camera.frozen_after_s,
                decode_threads=camera.decode_threads,
                acceleration=camera.acceleration,
            )
            for camera in cameras
        ]
    except ValueError as exc:
        raise ConfigError(f"[[camera]] {exc}") from exc


def mqtt_options(mqtt: Mqtt) -> MqttOptions:
    """The configured broker in the publisher's terms.

    Raises:
        ConfigError: settings that contradict each other.
    """
    tls = None
    if mqtt.uses_tls:
        files = {key: str(getattr(mqtt, key) or "") for key in ("ca_file", "cert_file", "key_file")}
        tls = TlsOptions(**files, insecure=mqtt.insecure)
    try:
        return MqttOptions(
            host=mqtt.host,
            port=mqtt.port or (MQTT_TLS_PORT if tls else MQTT_PORT),
            username=mqtt.username,
            password=mqtt.password.get_secret_value(),
            tls=tls,
            client_id=mqtt.client_id,
            protocol=mqtt.protocol,
            keepalive_s=mqtt.keepalive_s,
        )
    except ValueError as exc:
        raise ConfigError(f"[mqtt] {exc}") from exc


def outbox_options(publish: Publish) -> OutboxOptions | None:
    """Where durable messages wait; None where they are not kept."""
    if not publish.durable:
        return None
    return OutboxOptions(
        directory=publish.outbox,
        max_bytes=publish.outbox_max_mb << 20,
        max_age_s=publish.outbox_max_days * 86400,
    )
