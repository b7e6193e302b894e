"""What the daemon publishes besides results: states of cameras, what runs on the device, and statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

CameraStateName = Literal["opening", "online", "frozen", "offline", "ended"]
ALIVE: frozenset[CameraStateName] = frozenset({"online", "frozen"})


@dataclass(frozen=True, slots=True)
class CameraState:
    """The state of a camera.

    Attributes:
        camera: its name.
        state: `opening` until its first frame or failure, `online`, `frozen` (frames come, the picture stands still),
            `offline` (retried with a growing pause) or `ended` (a file was played once).
        reason: one sentence, without secrets; empty where nothing needs saying.
        since: UTC, when this state began.
        reconnects: how often the camera came back after a loss.
        decoder: what reads it, e.g. `FFMPEG h264, software`; empty before the first opening.
        size_wh: of its newest frame, pixels; (0, 0) before the first.
        fps: frames per second that the source claims, 0 where unknown.
        transport: of RTSP: `tcp`, `udp` or `multicast`; else empty.
        key_interval_s: seconds between two key frames of the stream; 0 where unknown.
    """

    camera: str
    state: CameraStateName
    reason: str
    since: datetime
    reconnects: int
    decoder: str = ""
    size_wh: tuple[int, int] = (0, 0)
    fps: float = 0.0
    transport: str = ""
    key_interval_s: float = 0.0

    @property
    def alive(self) -> bool:
        """Frames are coming: the camera counts as online, and detections may be expected."""
        return self.state in ALIVE


@dataclass(frozen=True, slots=True)
class CameraCounters:
    """Frames of a camera since the start. `captured == taken + sum(dropped.values()) + waiting`, always.

    Attributes:
        captured: frames that were given a sequence number.
        taken: handed to the detector.
        waiting: captured and not yet taken.
        dropped: by cause: `superseded` (a newer frame came first), `no_slot` (every slot was with the detector),
            `removed` (the camera was removed or changed).
        skipped: frames passed over by the fps limit, to keep a file's pace, or because newer ones waited in a device;
            never captured.
        bad_frames: pictures that could not be decoded or came damaged.
        reconnects: how often the camera came back after a loss.
    """

    captured: int = 0
    taken: int = 0
    waiting: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    skipped: int = 0
    bad_frames: int = 0
    reconnects: int = 0

    @property
    def too_many(self) -> int:
        """Frames dropped because the detector was busy."""
        return self.dropped.get("superseded", 0) + self.dropped.get("no_slot", 0)


@dataclass(frozen=True, slots=True)
class RefusedModel:
    """A model that failed on this device.

    Attributes:
        model: name of its bundle.
        reason: one sentence, without secrets.
        at: when, RFC 3339, UTC.
    """

    model: str
    reason: str
    at: str


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What runs on this device.

    Attributes:
        version: of edged.
        model: name of the bundle.
        backend: e.g. `cpu fp32, 2 cores`, for people.
        cameras: their names, not their addresses, which hold secrets.
        started_at: with time zone.
        refused: the model that failed, from which this device went back to this one; None where there is none.
    """

    version: str
    model: str
    backend: str
    cameras: tuple[str, ...]
    started_at: datetime
    refused: RefusedModel | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """What the pipeline and its process have done since the start.

    Attributes:
        uptime_s: since the start.
        frames, objects: processed and found.
        fps: frames per second over the last minute.
        latency_ms: by `total` (grab to result) and `detect`, each by percentile (`p50`, `p95`, `p99`), over the
            latest frames; None without frames.
        memory_mb, peak_memory_mb: resident, MiB; None while it cannot be read.
        temperature_c: of the hottest thermal zone; None where the kernel shows none.
    """

    uptime_s: float
    frames: int
    objects: int
    fps: float
    latency_ms: Mapping[str, Mapping[str, float | None]]
    memory_mb: float | None
    peak_memory_mb: float
    temperature_c: float | None


@dataclass(frozen=True, slots=True)
class SnapshotCounters:
    """What became of snapshots since the start.

    Attributes:
        stored: files written.
        dropped_disk: not stored, because the disk is full or fails.
        failed: no JPEG could be made.
    """

    stored: int = 0
    dropped_disk: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Statistics:
    """Everything that is counted, at one moment.

    Attributes:
        progress: of the pipeline and the process.
        clock_steps: how often the wall clock was set.
        cameras: counters by name.
        states: by name, of the present cameras; a camera with counters only was removed.
        snapshots: of all cameras.
    """

    progress: Progress
    clock_steps: int = 0
    cameras: Mapping[str, CameraCounters] = field(default_factory=dict)
    states: Mapping[str, CameraState] = field(default_factory=dict)
    snapshots: SnapshotCounters = SnapshotCounters()
