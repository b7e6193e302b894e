"""Results as a detector gives them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from edged.core.events import Change, Count, Ending, Event, EventType, ObjectCounts, Scores, SeenIn
from edged.core.states import CameraCounters, CameraState, Progress, Statistics
from edged.core.types import Detections, FrameMeta, FrameResult
from edged.core.watched import Watched
from edged.publish.identity import Origin
from edged.publish.mqtt import MqttPublisher
from edged.publish.options import MqttOptions, OutboxOptions

CLASSES = ("person", "bicycle", "car")
ORIGIN = Origin(device="box", model="yolov5n-640", classes=CLASSES, boot_id="boot", session="session")
BASE = "edged/box"
DETECTIONS = f"{BASE}/gate/detections"


def result(sequence: int = 0, objects: int = 2, *, camera: str = "gate") -> FrameResult:
    """A frame of 640x480 with so many objects in it."""
    random = np.random.default_rng(sequence)
    corners = np.sort(random.random((objects, 2, 2), dtype=np.float32), axis=1).reshape(-1, 4)
    xyxy = (corners * np.array([640, 480, 640, 480], np.float32)).astype(np.float32)
    confidence = np.sort(random.random(objects, dtype=np.float32))[::-1].copy()
    class_id = random.integers(0, len(CLASSES), objects, dtype=np.int32)
    meta = FrameMeta(camera, sequence, datetime.now(timezone.utc), time.monotonic_ns(), (640, 480))
    timings = {"waiting": 1.23456, "detect": 20.0, "total": 21.23456}
    return FrameResult(meta, Detections(xyxy, confidence, class_id), timings)


def counts(objects: int, *, camera: str = "gate", label: str = "person", **changes: object) -> ObjectCounts:
    """So many people, none of whom stands still; `changes` are those of ObjectCounts."""
    now = datetime.now(timezone.utc)
    made = ObjectCounts(
        camera=camera,
        as_of=now,
        available=True,
        labels={label: Count(objects, objects)},
        zones={},
        lines={},
        lines_since=now,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def event(
    kind: EventType = "start", revision: int = 0, *, ulid: str = "01KAZ0000000000000000000AA", **changes: object
) -> Event:
    """A message of an event of a person before the camera `gate`."""
    at = datetime(2026, 3, 1, 12, 0, 0, 250000, tzinfo=timezone.utc)
    because: dict[EventType, tuple[Change | Ending, ...]] = {"start": (), "update": ("zone",), "end": ("left",)}
    made = Event(
        type=kind,
        because=because[kind],
        event=ulid,
        revision=revision,
        camera="gate",
        model="yolov5n-640",
        label="person",
        score=Scores(0.71, 0.6523, 0.81234),
        started_at=at,
        last_seen_at=at,
        ended_at=at if kind == "end" else None,
        duration_s=1.5,
        frame=SeenIn(7, at, (640, 480), (10.04, 20.0, 110.0, 220.0)),
        zones=(),
        lines=(),
        crossed=(),
        stationary_since=None,
        seen_frames=9,
        missed_frames=1,
        continues="",
        snapshot=None,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def statistics(**changes: object) -> Statistics:
    """Figures of a pipeline that has worked for a minute; `changes` are those of its progress."""
    latency_ms: dict[str, dict[str, float | None]] = {
        "total": {"p50": 21.0, "p95": 25.0, "p99": None},
        "detect": {"p50": 20},
    }
    progress = Progress(60.0, 1800, 90, 29.97, latency_ms, memory_mb=80.0, peak_memory_mb=90.0, temperature_c=None)
    states = {"gate": CameraState("gate", "online", "", datetime.now(timezone.utc), 1)}
    cameras = {"gate": CameraCounters(captured=1801, taken=1800, waiting=1), "yard": CameraCounters()}
    return Statistics(replace(progress, **changes), cameras=cameras, states=states)  # type: ignore[arg-type]


def options(port: int, **changes: object) -> MqttOptions:
    """A broker on loopback, with short waits."""
    waits = {"keepalive_s": 2, "reconnect_min_s": 0.05, "reconnect_max_s": 0.2}
    return MqttOptions(**{"host": "127.0.0.1", "port": port, "protocol": "5", **waits, **changes})  # type: ignore[arg-type]


def outbox_options(folder: Path, **changes: object) -> OutboxOptions:
    """An outbox in `folder`."""
    return OutboxOptions(folder, **changes)  # type: ignore[arg-type]


def publisher(
    port: int, *, durable: Path | None = None, cameras: Sequence[Watched] | None = None, **changes: object
) -> MqttPublisher:
    """A publisher to loopback; `changes` are those of MqttOptions."""
    outbox = None if durable is None else outbox_options(durable)
    return MqttPublisher(options(port, **changes), ORIGIN, outbox=outbox, cameras=cameras)
