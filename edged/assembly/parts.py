"""Builds every part of a daemon from settings, and finds what a new configuration changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from edged.analysis.options import SceneOptions, SnapshotOptions
from edged.analysis.snapshots.store import Limits, SnapshotStore
from edged.analysis.snapshots.worker import SnapshotWorker
from edged.analysis.stage import Analysis
from edged.assembly.feeds import feed_of, snapshots_directory
from edged.assembly.model import LoadedModel, Loading, thresholds
from edged.assembly.options import camera_specs, mqtt_options, outbox_options
from edged.assembly.scenes import scene_options, watched_cameras
from edged.capture.cameras import Cameras
from edged.capture.spec import CameraSpec
from edged.config.schema import Settings
from edged.core.bundle import Bundle
from edged.core.events import Carried
from edged.core.options import shared
from edged.core.protocols import Sink, Stage
from edged.core.states import CameraState
from edged.core.types import Thresholds
from edged.core.watched import Watched
from edged.pinning import SlotPins
from edged.publish.frigate.mirror import FrigateMirror
from edged.publish.home_assistant.messages import DISCOVERY_PREFIX
from edged.publish.identity import Origin, origin
from edged.publish.mqtt import MqttPublisher, client_id
from edged.sinks import Sinks

# A session, its outbox and the feed's socket live as long as the process.
FIXED_SECTIONS = ("device", "mqtt", "publish", "feed", "snapshots", "probation")


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a daemon.

    Attributes:
        settings: what the parts were built from.
        sink: connecting already.
        cameras: not started.
        pins: registers the cameras' memory with a GPU detector.
        loading: the model, being loaded.
        stages: between detector and sink.
        analysis: one of them, which follows objects; None where that is off.
    """

    settings: Settings
    sink: Sink
    cameras: Cameras
    pins: SlotPins
    loading: Loading
    stages: tuple[Stage, ...] = ()
    analysis: Analysis | None = None


def assemble(settings: Settings) -> Parts:
    """Build every part.

    Raises:
        EdgedError: model, outbox, TLS files or cameras cannot be used.
    """
    bundle = Bundle.open(settings.model.bundle)  # first: a missing model is reported before anything starts
    speaker = origin(device=settings.device.id, model=bundle.manifest.name, classes=bundle.manifest.classes)
    specs = camera_specs(settings.camera)
    scenes = scene_options(settings, classes=speaker.classes, model=speaker.model)
    carried: SimpleQueue[Carried] = SimpleQueue()
    watched = watched_cameras(settings, scenes)
    mqtt = _mqtt(settings, speaker, watched, on_carried=carried.put)
    feed, pictures = feed_of(settings, speaker, watched, counters=mqtt.counters)
    sink = Sinks([mqtt, *_frigate(settings, watched), *feed])
    pins = SlotPins()
    analysis = None
    if settings.track.enabled:
        analysis = Analysis(
            scenes,
            sink=sink,
            model=speaker.model,
            classes=speaker.classes,
            carried=carried,
            snapshots=_snapshots(settings, sink),
        )
    cameras = Cameras(specs, on_state=lambda state: _tell(state, sink, analysis), watcher=pins)
    loading = Loading(settings.model, settings.engine)
    stages = (*(() if analysis is None else (analysis,)), *pictures)
    return Parts(settings, sink, cameras, pins, loading, stages, analysis)


def _snapshots(settings: Settings, sink: Sink) -> SnapshotWorker | None:
    """What makes snapshots; None where they are off.

    Raises:
        ConfigError: the directory cannot be written.
    """
    wanted = settings.snapshots
    if not wanted.enabled:
        return None
    store = SnapshotStore(snapshots_directory(settings), Limits(wanted.max_mb, wanted.max_days, wanted.min_free_mb))
    options = SnapshotOptions(**shared(SnapshotOptions, wanted))
    return SnapshotWorker(options, store, on_snapshot=sink.snapshot)


def _tell(state: CameraState, sink: Sink, analysis: Analysis | None) -> None:
    sink.camera_state(state)
    if analysis is not None:
        analysis.camera_state(state)


def _frigate(settings: Settings, watched: Sequence[Watched]) -> list[FrigateMirror]:
    """What speaks in Frigate's topics, where that is asked for.

    Raises:
        ConfigError: TLS files cannot be used.
    """
    if not settings.publish.frigate_prefix:
        return []
    options = mqtt_options(settings.mqtt)
    name = f"{client_id(options, settings.device.id)}-frigate"
    return [FrigateMirror(options, client_id=name, prefix=settings.publish.frigate_prefix, cameras=watched)]


def _mqtt(
    settings: Settings, speaker: Origin, watched: Sequence[Watched], *, on_carried: Callable[[Carried], None]
) -> MqttPublisher:
    """The MQTT publisher, connecting already.

    Raises:
        ConfigError: TLS files or the outbox cannot be used.
        EdgedError: another process holds the outbox.
    """
    publish = settings.publish
    return MqttPublisher(
        mqtt_options(settings.mqtt),
        speaker,
        prefix=settings.mqtt.prefix,
        topic=settings.mqtt.topic,
        qos=publish.qos,
        empty_frames=publish.detections == "all",
        outbox=outbox_options(publish, device=settings.device.id),
        on_carried=on_carried,
        discovery_prefix=DISCOVERY_PREFIX if publish.home_assistant else "",
        cameras=watched,
    )


@dataclass(frozen=True, slots=True)
class Change:
    """What a new configuration changes in a running daemon. It is checked: only loading a model can still fail.

    Attributes:
        settings: in force afterwards; sections that need a restart keep their old values.
        waiting: names of the changed sections that need a restart.
        specs: the cameras.
        thresholds: for the configured model.
        scenes: options of analysis, by camera.
        watched: what sinks are told of each camera.
        loading: another model, being loaded; None keeps the present one.
    """

    settings: Settings
    waiting: tuple[str, ...]
    specs: Sequence[CameraSpec]
    thresholds: Thresholds
    scenes: Mapping[str, SceneOptions]
    watched: Sequence[Watched]
    loading: Loading | None


def plan_change(new: Settings, *, running: Settings, model: LoadedModel) -> Change:
    """Compare a new configuration with what runs.

    Raises:
        EdgedError: it cannot be used.
    """
    specs = camera_specs(new.camera)
    bundle = Bundle.open(new.model.bundle)
    limits = thresholds(new.model, bundle)
    other = bundle.directory != model.bundle.directory or new.engine != running.engine
    # Sections that need a restart are compared with what runs, not with the configuration before.
    fixed = [*FIXED_SECTIONS, *(("track",) if new.track.enabled != running.track.enabled else ())]
    settings = new.model_copy(update={section: getattr(running, section) for section in fixed})
    manifest = bundle.manifest
    scenes = scene_options(settings, classes=manifest.classes, model=manifest.name)
    return Change(
        settings=settings,
        waiting=tuple(section for section in fixed if getattr(new, section) != getattr(running, section)),
        specs=specs,
        thresholds=limits,
        scenes=scenes,
        watched=watched_cameras(settings, scenes),
        loading=Loading(new.model, new.engine) if other else None,
    )
