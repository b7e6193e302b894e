"""The discovery messages: one for the box, one for each camera.

Source: https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edged import __version__
from edged.core.names import is_camera_name
from edged.core.watched import Watched
from edged.publish.home_assistant.entities import camera_entities, node
from edged.publish.payload import Payload
from edged.publish.topics import Topics

DISCOVERY_PREFIX = "homeassistant"
ORIGIN = "edged"


def box_topic(topics: Topics, *, prefix: str = DISCOVERY_PREFIX) -> str:
    """Where the box is announced."""
    return f"{prefix}/device/{node(topics)}/config"


def camera_topic(topics: Topics, camera: str, *, prefix: str = DISCOVERY_PREFIX) -> str:
    """Where a camera is announced."""
    return f"{prefix}/device/{node(topics)}/{camera}/config"


def box_message(topics: Topics) -> Payload:
    """Announces the box, with what tells whether it is well."""
    entities: dict[str, Payload] = {
        "connection": {
            "platform": "binary_sensor",
            "name": "connection",
            "device_class": "connectivity",
            "entity_category": "diagnostic",
            "state_topic": topics.status,
            "payload_on": "online",
            "payload_off": "offline",
        },
        "model": {
            "platform": "sensor",
            "name": "model",
            "icon": "mdi:brain",
            "entity_category": "diagnostic",
            "state_topic": topics.info,
            "value_template": "{{ value_json.model }}",
            "availability": [{"topic": topics.status}],
        },
        "fps": {
            "platform": "sensor",
            "name": "frames per second",
            "icon": "mdi:speedometer",
            "entity_category": "diagnostic",
            "state_class": "measurement",
            "unit_of_measurement": "fps",
            "suggested_display_precision": 1,
            "value_template": "{{ value_json.fps }}",
            "availability": [{"topic": topics.status}],
        },
        "temperature": {
            "platform": "sensor",
            "name": "temperature",
            "device_class": "temperature",
            "entity_category": "diagnostic",
            "state_class": "measurement",
            "unit_of_measurement": "°C",
            "value_template": "{{ value_json.temperature_c }}",
            "availability": [{"topic": topics.status}],
        },
    }
    return {
        "device": {
            "identifiers": [node(topics)],
            "name": f"edged {topics.device}",
            "manufacturer": "edged",
            "sw_version": __version__,
        },
        "origin": {"name": ORIGIN, "sw_version": __version__},
        "state_topic": topics.stats,
        "components": {name: {**entity, "unique_id": f"{node(topics)}/{name}"} for name, entity in entities.items()},
    }


def camera_message(topics: Topics, watched: Watched, *, gone: Mapping[str, str] | None = None) -> Payload:
    """Announces a camera.

    Args:
        topics: of the device.
        watched: the camera, and what is counted there.
        gone: platforms of entities that were announced before, by name: those that are no more are taken away.
    """
    entities = camera_entities(topics, watched)
    removed = {name: {"platform": platform} for name, platform in (gone or {}).items() if name not in entities}
    return {
        "device": {
            "identifiers": [f"{node(topics)}/{watched.camera}"],
            "name": watched.title or watched.camera,
            "manufacturer": "edged",
            "model": "camera",
            "via_device": node(topics),
        },
        "origin": {"name": ORIGIN, "sw_version": __version__},
        "availability": [{"topic": topics.status}, {"topic": topics.camera_status(watched.camera)}],
        "availability_mode": "all",
        "state_topic": topics.camera_objects(watched.camera),
        "components": {**entities, **removed},
    }


def announces(topic: str, content: Mapping[str, Any], topics: Topics) -> bool:
    """Whether a discovery message, written by any client, is for this device or a camera of it."""
    origin, state_topic = content.get("origin"), content.get("state_topic")
    if not (isinstance(origin, dict) and origin.get("name") == ORIGIN and isinstance(state_topic, str)):
        return False
    if state_topic == topics.stats:
        return topic.endswith(box_topic(topics, prefix=""))
    levels = state_topic.removeprefix(f"{topics.base}/").split("/")
    # Exactly two levels: a device whose prefix is this device's base has one level more.
    return (
        state_topic.startswith(f"{topics.base}/")
        and len(levels) == len(("camera", "leaf"))
        and is_camera_name(levels[0])
    )


def announced_entities(message: Mapping[str, Any]) -> dict[str, str]:
    """Platforms of the entities of a discovery message, written by any client, by name."""
    components = message.get("components")
    if not isinstance(components, dict):
        return {}
    return {
        name: entity["platform"]
        for name, entity in components.items()
        if isinstance(entity, dict) and isinstance(entity.get("platform"), str) and len(entity) > 1
    }
