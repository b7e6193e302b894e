"""The JSON messages of analysis: events, and how many objects a camera shows.

`edged/publish/schemas` has their JSON schemas. Numbers are rounded: boxes to 0.1 pixel, scores to 4 decimals.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from edged.core.events import Box, Count, Event, LineCrossing, ObjectCounts, SnapshotFacts, ZoneVisit
from edged.publish.identity import Origin
from edged.publish.payload import Payload, rfc3339


def event_payload(event: Event, origin: Origin, *, published_at: datetime) -> Payload:
    """`edged.events/1`: one message of an event."""
    frame = event.frame
    return {
        "schema": "edged.events/1",
        "type": event.type,
        "because": list(event.because),
        "event": event.event,
        "revision": event.revision,
        "device": origin.device,
        "camera": event.camera,
        "boot_id": origin.boot_id,
        "session": origin.session,
        "model": event.model,
        "label": event.label,
        "score": {
            "last": round(event.score.last, 4),
            "median": round(event.score.median, 4),
            "top": round(event.score.top, 4),
        },
        "started_at": rfc3339(event.started_at),
        "last_seen_at": rfc3339(event.last_seen_at),
        "ended_at": _maybe(event.ended_at),
        "duration_s": round(event.duration_s, 3),
        "frame": {
            "sequence": frame.sequence,
            "captured_at": rfc3339(frame.captured_at),
            "size": list(frame.size_wh),
            "box": _box(frame.box),
        },
        "zones": [_zone(visit) for visit in event.zones],
        "lines": [_line(crossing) for crossing in event.lines],
        "stationary_since": _maybe(event.stationary_since),
        "seen_frames": event.seen_frames,
        "missed_frames": event.missed_frames,
        "continues": event.continues or None,
        "snapshot": None if event.snapshot is None else _snapshot(event.snapshot),
        "published_at": rfc3339(published_at),
    }


def ended_payload(payload: Payload, *, because: str, at: datetime) -> Payload:
    """The end of an event of which `payload` is the latest message, where the daemon that followed it cannot say it."""
    return {
        **payload,
        "type": "end",
        "because": [because],
        "revision": payload["revision"] + 1,
        "ended_at": rfc3339(at),
        "published_at": rfc3339(at),
    }


def objects_payload(counts: ObjectCounts, origin: Origin) -> Payload:
    """`edged.objects/1`: how many objects a camera shows now."""
    return {
        "schema": "edged.objects/1",
        "device": origin.device,
        "camera": counts.camera,
        "session": origin.session,
        "as_of": rfc3339(counts.as_of),
        "available": counts.available,
        "labels": _counted(counts.labels),
        "zones": {zone: _counted(labels) for zone, labels in counts.zones.items()},
        "lines": {
            line: {label: dict(directions) for label, directions in labels.items()}
            for line, labels in counts.lines.items()
        },
        "since": rfc3339(counts.lines_since),
    }


def _counted(labels: Mapping[str, Count]) -> Payload:
    return {label: {"all": each.all, "active": each.active} for label, each in labels.items()}


def _maybe(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def _box(box: Box) -> list[float]:
    return [round(side, 1) for side in box]


def _zone(visit: ZoneVisit) -> Payload:
    return {
        "name": visit.name,
        "entered_at": rfc3339(visit.entered_at),
        "left_at": _maybe(visit.left_at),
        "loitering": visit.loitering,
    }


def _line(crossing: LineCrossing) -> Payload:
    return {"name": crossing.name, "direction": crossing.direction, "at": rfc3339(crossing.at)}


def _snapshot(facts: SnapshotFacts) -> Payload:
    return {
        "sequence": facts.sequence,
        "captured_at": rfc3339(facts.captured_at),
        "box": _box(facts.box),
        "sha256": facts.sha256,
        "state": facts.state,
    }
