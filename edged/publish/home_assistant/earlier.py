"""What releases before device discovery announced: one message an entity. Home Assistant moves such an entity to its
device, with its name and history, once it was told to (`migrate_discovery`).

Source: https://www.home-assistant.io/integrations/mqtt/#migration-from-single-component-to-device-based-discovery
"""

from __future__ import annotations

from edged.publish.home_assistant.entities import node
from edged.publish.topics import Topics

MIGRATE = b'{"migrate_discovery": true}'
COMPONENTS = {"connection": "binary_sensor", "objects": "sensor"}


def earlier_topics(topics: Topics, camera: str, *, prefix: str) -> dict[str, str]:
    """Where each entity of a camera was announced, by its present name."""
    return {
        name: f"{prefix}/{component}/{node(topics)}/{camera}_{name}/config" for name, component in COMPONENTS.items()
    }


def earlier_filters(topics: Topics, *, prefix: str) -> list[str]:
    """Topic filters for all such messages of this device."""
    return [f"{prefix}/{component}/{node(topics)}/+/config" for component in COMPONENTS.values()]
