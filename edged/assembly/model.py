"""Opens the configured model and the detector that runs it on this machine."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from edged.config.schema import Engine, Model
from edged.core.bundle import Bundle
from edged.core.errors import BundleMismatch, ConfigError, DetectorError, NotInstalled
from edged.core.limits import ScoreLimits
from edged.core.options import shared
from edged.core.protocols import TunableDetector
from edged.core.types import Thresholds
from edged.cpu.choice import choose_graph
from edged.cpu.detector import CpuDetector
from edged.gpu.backend import open_detector

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A detector and what it runs.

    Attributes:
        detector: ready for the first frame.
        bundle: the model.
        backend: e.g. `cpu fp32, 2 cores`, for people.
        facts: more about what runs the model, for people, by name.
    """

    detector: TunableDetector
    bundle: Bundle
    backend: str
    facts: Mapping[str, str] = field(default_factory=dict)


def load_model(model: Model, engine: Engine) -> LoadedModel:
    """Open the configured bundle and build the detector that this machine can run.

    Raises:
        ConfigError: a class that the model does not know, or a GPU that is not there.
        BundleMismatch: no bundle, none for this machine, or a confidence below what it can report.
        DataError: the bundle is damaged.
        DetectorError, NotInstalled: `backend = "tensorrt"`, and the GPU or a package is missing or fails.
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
    return replace(loaded, facts={**loaded.facts, "not on the GPU": why}) if why else loaded


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
    """The configured limits, with class names turned into the model's ids.

    Raises:
        ConfigError: a class that the model does not know.
        BundleMismatch: a confidence below what the bundle can report.
    """
    known = bundle.manifest.classes
    unknown = [name for name in model.classes if name not in known]
    if unknown:
        raise ConfigError(f"[model] classes: {unknown[0]!r} is not a class of {bundle.manifest.name}; {listed(known)}")
    if model.confidence < bundle.manifest.min_confidence:
        raise BundleMismatch(
            f"[model] confidence {model.confidence:g} is below {bundle.manifest.min_confidence:g}, "
            f"the lowest that {bundle.manifest.name} reports",
            remedy="raise it, or provision with a lower prenms_score_threshold",
        )
    return Thresholds(
        **shared(ScoreLimits, model),
        # names may repeat
        class_ids=frozenset(number for number, name in enumerate(known) if name in model.classes),
    )


def listed(names: Sequence[str], *, most: int = 20) -> str:
    """Class names for a message: `it knows person, car and 3 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"it knows {', '.join(names[:most])}{more}"


class Loading:
    """Loads a model in a thread of its own, started at once, so that the main thread still serves signals and watchdog.

    Args:
        model, engine: as configured.
    """

    def __init__(self, model: Model, engine: Engine) -> None:
        self._settings = (model, engine)
        self._loaded: LoadedModel | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load-model", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._loaded = load_model(*self._settings)
        except BaseException as exc:  # noqa: BLE001 - `result` raises it
            self._failure = exc

    @property
    def under_way(self) -> bool:
        """Whether the model is still being loaded."""
        return self._thread.is_alive()

    def result(self) -> LoadedModel:
        """The model; call it when it is no longer under way.

        Raises:
            EdgedError: what `load_model` raised.
            RuntimeError: it is still under way.
        """
        if self._failure is not None:
            raise self._failure
        if self._loaded is None:
            raise RuntimeError("the model is still being loaded")
        return self._loaded
