"""An event as Frigate describes it.

Source: https://docs.frigate.video/integrations/mqtt/#frigateevents
"""

from __future__ import annotations

from datetime import datetime

from edged.core.events import Box, Event
from edged.publish.payload import Payload

_TYPES = {"start": "new", "update": "update", "end": "end"}


def frigate_event(event: Event, *, before: Payload | None) -> Payload:
    """The message on `<prefix>/events`.

    Args:
        event: a message of an event.
        before: `after` of the message before; None for the first.
    """
    after = _state(event)
    return {"type": _TYPES[event.type], "before": after if before is None else before, "after": after}


def _state(event: Event) -> Payload:
    box = _box(event.frame.box)
    visits = event.zones
    picture = event.snapshot
    return {
        "id": event.event,
        "camera": event.camera,
        "frame_time": _seconds(event.frame.captured_at),
        "snapshot": None if picture is None else _picture(picture.captured_at, picture.box, event.score.top),
        "label": event.label,
        "sub_label": None,
        "top_score": round(event.score.top, 4),
        "false_positive": False,
        "start_time": _seconds(event.started_at),
        "end_time": None if event.ended_at is None else _seconds(event.ended_at),
        "score": round(event.score.last, 4),
        "box": box,
        "area": _area(box),
        "ratio": _ratio(box),
        "region": [0, 0, *event.frame.size_wh],
        "current_zones": list(dict.fromkeys(visit.name for visit in visits if visit.left_at is None)),
        "entered_zones": list(dict.fromkeys(visit.name for visit in visits)),
        "has_snapshot": picture is not None and picture.state == "stored",
        "has_clip": False,
        "active": event.stationary_since is None,
        "stationary": event.stationary_since is not None,
        "motionless_count": 0,
        "position_changes": 0,
        "attributes": {},
        "current_attributes": [],
    }


def _picture(at: datetime, box: Box, score: float) -> Payload:
    corners = _box(box)
    return {"frame_time": _seconds(at), "box": corners, "area": _area(corners), "score": round(score, 4)}


def _box(box: Box) -> list[int]:
    return [round(side) for side in box]


def _area(box: list[int]) -> int:
    return max(0, box[2] - box[0]) * max(0, box[3] - box[1])


def _ratio(box: list[int]) -> float:
    return round((box[2] - box[0]) / max(1, box[3] - box[1]), 6)


def _seconds(moment: datetime) -> float:
    return round(moment.timestamp(), 6)
