"""The entities of one camera: what Home Assistant shows, and how it reads that from edged's messages.

Sources: https://www.home-assistant.io/integrations/mqtt/ and the pages of its binary sensor, sensor, image and event.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from edged.core.watched import Watched
from edged.publish.payload import Payload
from edged.publish.topics import Topics

MOST_LABELS = 25  # of a camera, a zone or a line: a message must stay below what brokers take
_ALL_OBJECTS = "value_json.labels.values() | map(attribute='all') | sum"
_EVENT = (
    "{{ dict(event_type=value_json.type, because=value_json.because, event=value_json.event, label=value_json.label,"
    " score=value_json.score.top, started_at=value_json.started_at, ended_at=value_json.ended_at,"
    " duration_s=value_json.duration_s, stationary_since=value_json.stationary_since, continues=value_json.continues,"
    " zones=value_json.zones | selectattr('left_at', 'none') | map(attribute='name') | list,"
    " lines=value_json.lines) | tojson }}"
)


def node(topics: Topics) -> str:
    """What this device is called in identifiers."""
    return f"edged_{topics.device}"


def camera_entities(topics: Topics, watched: Watched) -> dict[str, Payload]:
    """The entities of a camera, by a name that is unique in it and holds no space."""
    camera = watched.camera
    found = {"connection": _connection(topics, camera)}
    if watched.followed:
        found["objects"] = _number("objects", _ALL_OBJECTS, icon="mdi:shape-outline")
        found["events"] = _events(topics, camera)
        found.update(_counts("", "value_json.labels", watched.labels))
        for zone, labels in watched.zones.items():
            found.update(_counts(zone, f"value_json.zones.get({_text(zone)}, {{}})", labels))
        for line, labels in watched.lines.items():
            found.update(_totals(line, labels))
        if watched.pictured:
            found.update(_pictures(topics, watched))
    # Home Assistant knows these two from releases that announced nothing else.
    kept = {"connection": f"{node(topics)}_{camera}_connection", "objects": f"{node(topics)}_{camera}_objects"}
    return {
        name: {**entity, "unique_id": kept.get(name, f"{node(topics)}/{camera}/{name}")}
        for name, entity in found.items()
    }


def _connection(topics: Topics, camera: str) -> Payload:
    """Says `off` while the camera is away; unavailable only with the box."""
    return {
        "platform": "binary_sensor",
        "name": "connection",
        "device_class": "connectivity",
        "entity_category": "diagnostic",
        "state_topic": topics.camera_status(camera),
        "payload_on": "online",
        "payload_off": "offline",
        "availability": [{"topic": topics.status}],
    }


def _number(name: str, value: str, *, icon: str) -> Payload:
    """A number of objects; `value` is the template's expression for it, which holds while the camera is looked at."""
    return {
        "platform": "sensor",
        "name": name,
        "icon": icon,
        "state_class": "measurement",
        "unit_of_measurement": "objects",
        "value_template": _while_looked_at(value),
    }


def _while_looked_at(value: str) -> str:
    # Home Assistant ignores an empty number, and would show the old one when the camera is back.
    return f"{{{{ {value} if value_json.available else None }}}}"


def _events(topics: Topics, camera: str) -> Payload:
    return {
        "platform": "event",
        "name": "events",
        "icon": "mdi:walk",
        "event_types": ["start", "update", "end"],
        "state_topic": topics.events(camera),
        "value_template": _EVENT,
        "qos": 1,
    }


def _counts(zone: str, where: str, labels: Sequence[str]) -> Iterator[tuple[str, Payload]]:
    """Presence and number of each class; `where` is the template's expression for the counts by class."""
    called, key = (f"{zone} ", f"zone/{zone}/") if zone else ("", "")
    for label in labels[:MOST_LABELS]:
        number = f"{where}.get({_text(label)}, {{}}).get('all', 0)"
        active = f"{where}.get({_text(label)}, {{}}).get('active', 0)"
        presence: Payload = {
            "platform": "binary_sensor",
            "name": f"{called}{label} occupancy",
            "device_class": "occupancy",
            "value_template": _while_looked_at(f"('ON' if {number} else 'OFF')"),
        }
        yield f"{key}occupancy/{_key(label)}", presence
        yield f"{key}count/{_key(label)}", _number(f"{called}{label} count", number, icon="mdi:counter")
        yield f"{key}active/{_key(label)}", _number(f"{called}{label} active count", active, icon="mdi:run")


def _totals(line: str, labels: Sequence[str]) -> Iterator[tuple[str, Payload]]:
    for label in labels[:MOST_LABELS]:
        for direction in ("in", "out"):
            number = f"value_json.lines.get({_text(line)}, {{}}).get({_text(label)}, {{}}).get('{direction}')"
            yield (
                f"line/{line}/{_key(label)}/{direction}",
                {
                    "platform": "sensor",
                    "name": f"{line} {label} {direction}",
                    "icon": "mdi:location-enter" if direction == "in" else "mdi:location-exit",
                    "state_class": "total_increasing",
                    "unit_of_measurement": "objects",
                    "value_template": f"{{{{ {number} }}}}",
                },
            )


def _pictures(topics: Topics, watched: Watched) -> Iterator[tuple[str, Payload]]:
    for label in watched.labels[:MOST_LABELS]:
        yield (
            f"image/{_key(label)}",
            {
                "platform": "image",
                "name": label,
                "image_topic": topics.snapshot(watched.camera, label),
                "content_type": "image/jpeg",
            },
        )


def _text(name: str) -> str:
    """A string for a template: Jinja's have the escapes of JSON's."""
    return json.dumps(name, ensure_ascii=False)


def _key(label: str) -> str:
    """A class name without spaces, by which Home Assistant separates names."""
    return quote(label, safe="")
