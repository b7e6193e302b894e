"""Home Assistant's MQTT discovery: one device, with connectivity and number of objects for each camera.

Source: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

from __future__ import annotations

from collections.abc import Mapping

from edged.core.names import is_camera_name
from edged.publish.payload import Payload
from edged.publish.topics import Topics

DISCOVERY_PREFIX = "homeassistant"
ORIGIN = "edged"
# Home Assistant ignores an empty number, and would show the old one when the camera is back.
_ALL_OBJECTS = "{{ value_json.labels.values() | map(attribute='all') | sum if value_json.available else None }}"
_COMPONENTS = ("binary_sensor", "sensor")


def _node(topics: Topics) -> str:
    return f"edged_{topics.device}"


def discovery(topics: Topics, camera: str, *, prefix: str = DISCOVERY_PREFIX) -> dict[str, Payload]:
    """The discovery messages of one camera, by the topic on which each is retained."""
    node = _node(topics)
    device_online = {"topic": topics.status}
    common: Payload = {
        "device": {"identifiers": [node], "name": f"edged {topics.device}", "manufacturer": "edged"},
        "origin": {"name": ORIGIN},
    }
    connectivity: Payload = {
        "name": f"{camera} connection",
        "unique_id": f"{node}_{camera}_connection",
        "device_class": "connectivity",
        "entity_category": "diagnostic",
        "state_topic": topics.camera_status(camera),
        "payload_on": "online",
        "payload_off": "offline",
        "availability": [device_online],
    }
    objects: Payload = {
        "name": f"{camera} objects",
        "unique_id": f"{node}_{camera}_objects",
        "icon": "mdi:shape-outline",
        "state_class": "measurement",
        "unit_of_measurement": "objects",
        "state_topic": topics.camera_objects(camera),
        "value_template": _ALL_OBJECTS,
        "availability": [device_online, {"topic": topics.camera_status(camera)}],
        "availability_mode": "all",
    }
    return {
        f"{prefix}/{_COMPONENTS[0]}/{node}/{camera}_connection/config": {**connectivity, **common},
        f"{prefix}/{_COMPONENTS[1]}/{node}/{camera}_objects/config": {**objects, **common},
    }


def discovery_filters(topics: Topics, *, prefix: str = DISCOVERY_PREFIX) -> list[str]:
    """Topic filters for all discovery messages of this device."""
    return [f"{prefix}/{component}/{_node(topics)}/+/config" for component in _COMPONENTS]


def announces(content: Mapping[str, object], topics: Topics) -> bool:
    """Whether the content of a discovery message, written by any client, is for a camera of this device."""
    origin, state_topic = content.get("origin"), content.get("state_topic")
    if not (isinstance(origin, dict) and origin.get("name") == ORIGIN and isinstance(state_topic, str)):
        return False
    levels = state_topic.removeprefix(f"{topics.base}/").split("/")
    # Exactly two levels: a device whose prefix is this device's base has one level more.
    return (
        state_topic.startswith(f"{topics.base}/")
        and len(levels) == len(("camera", "leaf"))
        and is_camera_name(levels[0])
    )
