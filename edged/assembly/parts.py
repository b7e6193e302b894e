"""Every part of a daemon, built from settings, and what a new configuration changes about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edged.assembly.model import LoadedModel, Loading, thresholds
from edged.assembly.options import camera_specs, mqtt_options, outbox_options
from edged.capture.cameras import Cameras
from edged.capture.spec import CameraSpec
from edged.config.schema import Settings
from edged.core.bundle import Bundle
from edged.core.protocols import Sink, Stage
from edged.core.types import Thresholds
from edged.pinning import SlotPins
from edged.publish.home_assistant import DISCOVERY_PREFIX
from edged.publish.identity import Origin, origin
from edged.publish.mqtt import MqttPublisher
from edged.sinks import Sinks

FIXED_SECTIONS = ("device", "mqtt", "publish")  # a session and its outbox live as long as the process


@dataclass(frozen=True, slots=True)
class Parts:
    """What a daemon is made of.

    Attributes:
        settings: that they were made from.
        sink: connecting already.
        cameras: not started.
        pins: tells a detector where frames lie.
        loading: the model, under way.
        stages: between detector and sink.
    """

    settings: Settings
    sink: Sink
    cameras: Cameras
    pins: SlotPins
    loading: Loading
    stages: tuple[Stage, ...] = ()


def assemble(settings: Settings) -> Parts:
    """Make every part.

    Raises:
        EdgedError: model, outbox, TLS files or cameras cannot be used; nothing runs then.
    """
    bundle = Bundle.open(settings.model.bundle)  # before all else: a missing model is told at once
    speaker = origin(device=settings.device.id, model=bundle.manifest.name, classes=bundle.manifest.classes)
    specs = camera_specs(settings.camera)
    sink = Sinks([_mqtt(settings, speaker)])
    pins = SlotPins()
    cameras = Cameras(specs, on_state=sink.camera_state, watcher=pins)
    return Parts(settings, sink, cameras, pins, Loading(settings.model, settings.engine))


def _mqtt(settings: Settings, speaker: Origin) -> MqttPublisher:
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
        qos=publish.qos,
        empty_frames=publish.detections == "all",
        outbox=outbox_options(publish),
        discovery_prefix=DISCOVERY_PREFIX if publish.home_assistant else "",
        cameras=[camera.name for camera in settings.camera],
    )


@dataclass(frozen=True, slots=True)
class Change:
    """What a new configuration asks of a running daemon; nothing in it can be refused any more, but the model.

    Attributes:
        settings: that hold when it is done; sections that wait for a restart as they were.
        waiting: those sections.
        specs: the cameras.
        thresholds: of the model that runs.
        loading: another model, under way; None keeps the one that runs.
    """

    settings: Settings
    waiting: tuple[str, ...]
    specs: Sequence[CameraSpec]
    thresholds: Thresholds
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
    # Sections that stay as they were keep being compared with what runs, not with what was asked for.
    return Change(
        settings=new.model_copy(update={section: getattr(running, section) for section in FIXED_SECTIONS}),
        waiting=tuple(section for section in FIXED_SECTIONS if getattr(new, section) != getattr(running, section)),
        specs=specs,
        thresholds=limits,
        loading=Loading(new.model, new.engine) if other else None,
    )
