"""Home Assistant's MQTT discovery: one device, and for each camera its connectivity and its number of objects.

Source: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

from __future__ import annotations

from edged.publish.payload import Payload
from edged.publish.topics import Topics


def discovery(topics: Topics, camera: str, *, prefix: str = "homeassistant") -> dict[str, Payload]:
    """Configuration messages of one camera by the topic on which they are retained."""
    node = f"edged_{topics.device}"
    common: Payload = {
        "device": {"identifiers": [node], "name": f"edged {topics.device}", "manufacturer": "edged"},
        "origin": {"name": "edged"},
        "availability": [{"topic": topics.status}],
    }
    connectivity: Payload = {
        "name": f"{camera} connection",
        "unique_id": f"{node}_{camera}_connection",
        "device_class": "connectivity",
        "entity_category": "diagnostic",
        "state_topic": topics.camera_status(camera),
        "payload_on": "online",
        "payload_off": "offline",
    }
    objects: Payload = {
        "name": f"{camera} objects",
        "unique_id": f"{node}_{camera}_objects",
        "icon": "mdi:shape-outline",
        "state_class": "measurement",
        "unit_of_measurement": "objects",
        "state_topic": topics.detections(camera),
        "value_template": "{{ value_json.detections | count }}",
    }
    return {
        f"{prefix}/binary_sensor/{node}/{camera}_connection/config": {**connectivity, **common},
        f"{prefix}/sensor/{node}/{camera}_objects/config": {**objects, **common},
    }
