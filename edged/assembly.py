"""The only place where concrete stages are built from settings."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from edged.capture.spec import CameraSpec
from edged.config.schema import Camera, Engine, Model, Mqtt, Settings
from edged.core.bundle import Bundle
from edged.core.errors import BundleMismatch, ConfigError, DetectorError, NotInstalled
from edged.core.protocols import TunableDetector
from edged.core.types import Thresholds
from edged.cpu.choice import choose_graph
from edged.cpu.detector import CpuDetector
from edged.gpu.backend import open_detector
from edged.publish.home_assistant import DISCOVERY_PREFIX
from edged.publish.identity import Origin
from edged.publish.mqtt import MqttPublisher
from edged.publish.options import MqttOptions, OutboxOptions, TlsOptions

MQTT_PORT = 1883
MQTT_TLS_PORT = 8883

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A detector and what it runs.

    Attributes:
        detector: ready for the first frame.
        bundle: the model.
        backend: e.g. `cpu fp32, 2 cores`, for people.
        facts: what else there is to know of what runs the model, by name.
    """

    detector: TunableDetector
    bundle: Bundle
    backend: str
    facts: Mapping[str, str] = field(default_factory=dict)


def load_model(model: Model, engine: Engine) -> LoadedModel:
    """Open the configured bundle and build the detector that this machine can run.

    Raises:
        ConfigError: a class that the model does not know, a confidence below what the bundle can report.
        BundleMismatch, DataError: the bundle is not there, damaged, or not made for this machine.
    """
    bundle = Bundle.open(model.bundle)
    limits = thresholds(model, bundle)
    why = ""
    if engine.backend != "cpu":
        try:
            return _on_gpu(bundle, limits, engine)
        except (BundleMismatch, DetectorError, NotInstalled) as exc:
            if engine.backend == "tensorrt":
                raise
            # A bundle without an engine was made for the CPU; with one, its owner expects the GPU.
            level = logging.WARNING if bundle.manifest.engines else logging.INFO
            logger.log(level, "running on the CPU: %s", exc)
            why = str(exc) if bundle.manifest.engines else ""
    loaded = _on_cpu(bundle, limits, engine)
    return replace(loaded, facts={**loaded.facts, "not on the GPU:": why}) if why else loaded


def _on_gpu(bundle: Bundle, limits: Thresholds, engine: Engine) -> LoadedModel:
    opened = open_detector(
        bundle,
        thresholds=limits,
        device=engine.device,
        precision=engine.precision,
        need_mb=engine.free_memory_mb,
    )
    return LoadedModel(opened.detector, bundle, opened.backend, opened.facts)


def _on_cpu(bundle: Bundle, limits: Thresholds, engine: Engine) -> LoadedModel:
    graph = choose_graph(bundle.manifest, engine.precision)
    if graph.why:
        logger.info("on the CPU %s runs as %s: %s", bundle.manifest.name, graph.precision, graph.why)
    detector = CpuDetector(bundle, thresholds=limits, threads=engine.threads, file=graph.file)
    backend = f"cpu {graph.precision}, {detector.cores} core{'s' if detector.cores > 1 else ''}"
    return LoadedModel(detector, bundle, backend, detector.facts)


def thresholds(model: Model, bundle: Bundle) -> Thresholds:
    """The configured limits in the model's terms.

    Raises:
        ConfigError: a class that the model does not know.
        BundleMismatch: a confidence below what the bundle can report.
    """
    known = bundle.manifest.classes
    unknown = [name for name in model.classes if name not in known]
    if unknown:
        raise ConfigError(f"[model] classes: {unknown[0]!r} is not a class of {bundle.manifest.name}; {_listed(known)}")
    if model.confidence < bundle.manifest.min_confidence:
        raise BundleMismatch(
            f"[model] confidence {model.confidence:g} is below {bundle.manifest.min_confidence:g}, "
            f"the lowest that {bundle.manifest.name} reports",
            remedy="raise it, or provision with a lower prenms_score_threshold",
        )
    return Thresholds(
        confidence=model.confidence,
        iou=model.iou,
        max_detections=model.max_detections,
        # names may repeat
        class_ids=frozenset(number for number, name in enumerate(known) if name in model.classes),
    )


def _listed(names: Sequence[str], *, most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"it knows {', '.join(names[:most])}{more}"


def camera_specs(cameras: Sequence[Camera]) -> list[CameraSpec]:
    """The configured cameras in capture's terms.

    Raises:
        ConfigError: a camera that cannot be, e.g. an impossible source.
    """
    try:
        return [
            CameraSpec(
                name=camera.name,
                source=camera.source_with_credentials(),
                pace=camera.pace,
                loop=camera.loop,
                fps=camera.fps,
                rotate=camera.rotate,
                open_timeout_s=camera.open_timeout_s,
                read_timeout_s=camera.read_timeout_s,
                max_pixels=camera.max_pixels,
                frozen_after_s=camera.frozen_after_s,
                decode_threads=camera.decode_threads,
                acceleration=camera.acceleration,
            )
            for camera in cameras
        ]
    except ValueError as exc:
        raise ConfigError(f"[[camera]] {exc}") from exc


def mqtt_options(mqtt: Mqtt) -> MqttOptions:
    """The configured broker in the publisher's terms.

    Raises:
        ConfigError: settings that contradict each other.
    """
    tls = None
    if mqtt.uses_tls:
        files = {key: str(getattr(mqtt, key) or "") for key in ("ca_file", "cert_file", "key_file")}
        tls = TlsOptions(**files, insecure=mqtt.insecure)
    try:
        return MqttOptions(
            host=mqtt.host,
            port=mqtt.port or (MQTT_TLS_PORT if tls else MQTT_PORT),
            username=mqtt.username,
            password=mqtt.password.get_secret_value(),
            tls=tls,
            client_id=mqtt.client_id,
            protocol=mqtt.protocol,
            keepalive_s=mqtt.keepalive_s,
        )
    except ValueError as exc:
        raise ConfigError(f"[mqtt] {exc}") from exc


def make_publisher(settings: Settings, speaker: Origin) -> MqttPublisher:
    """The publisher, already connecting.

    Raises:
        ConfigError: TLS files or the outbox cannot be used.
        EdgedError: another process holds the outbox.
    """
    publish = settings.publish
    outbox = None
    if publish.durable:
        outbox = OutboxOptions(
            directory=publish.outbox,
            max_bytes=publish.outbox_max_mb << 20,
            max_age_s=publish.outbox_max_days * 86400,
        )
    return MqttPublisher(
        mqtt_options(settings.mqtt),
        speaker,
        prefix=settings.mqtt.prefix,
        qos=publish.qos,
        empty_frames=publish.detections == "all",
        outbox=outbox,
        discovery_prefix=DISCOVERY_PREFIX if publish.home_assistant else "",
        cameras=[camera.name for camera in settings.camera],
    )
