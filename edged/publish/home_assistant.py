"""Home Assistant's MQTT discovery: one device, and for each camera its connectivity and its number of objects.

Source: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

from __future__ import annotations

from collections.abc import Mapping

from edged.core.names import is_camera_name
from edged.publish.payload import Payload
from edged.publish.topics import Topics

DISCOVERY_PREFIX = "homeassistant"
ORIGIN = "edged"
_COMPONENTS = ("binary_sensor", "sensor")


def _node(topics: Topics) -> str:
    return f"edged_{topics.device}"


def discovery(topics: Topics, camera: str, *, prefix: str = DISCOVERY_PREFIX) -> dict[str, Payload]:
    """Configuration messages of one camera by the topic on which they are retained."""
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
        # Not `detections`: of those, frames without any may be kept back, and durable ones arrive hours late.
        "state_topic": topics.camera_objects(camera),
        "availability": [device_online, {"topic": topics.camera_status(camera)}],
        "availability_mode": "all",
    }
    return {
        f"{prefix}/{_COMPONENTS[0]}/{node}/{camera}_connection/config": {**connectivity, **common},
        f"{prefix}/{_COMPONENTS[1]}/{node}/{camera}_objects/config": {**objects, **common},
    }


def discovery_filters(topics: Topics, *, prefix: str = DISCOVERY_PREFIX) -> list[str]:
    """What to subscribe to for every configuration message of this device."""
    return [f"{prefix}/{component}/{_node(topics)}/+/config" for component in _COMPONENTS]


def announces(content: Mapping[str, object], topics: Topics) -> bool:
    """Whether a configuration message, which anybody may have written, is for a camera of this device."""
    origin, state_topic = content.get("origin"), content.get("state_topic")
    if not (isinstance(origin, dict) and origin.get("name") == ORIGIN and isinstance(state_topic, str)):
        return False
    levels = state_topic.removeprefix(f"{topics.base}/").split("/")
    # Two levels and no more: a device of the same name whose prefix is our base has one between.
    return (
        state_topic.startswith(f"{topics.base}/")
        and len(levels) == len(("camera", "leaf"))
        and is_camera_name(levels[0])
    )
