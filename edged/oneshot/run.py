"""Runs one `edged detect`: writes pictures, JSON lines and a summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from pydantic import ValidationError
from tqdm import tqdm

from edged.analysis.options import SceneOptions
from edged.annotate import Outline
from edged.assembly.model import LoadedModel, load_model
from edged.assembly.scenes import scene_options
from edged.config import load_settings
from edged.config.schema import Device, Engine, Model
from edged.core.errors import EdgedError, UsageError
from edged.core.exits import complain
from edged.core.manifest import Manifest
from edged.core.redact import redact
from edged.core.stderr import redacted_stderr
from edged.core.trust import USUAL, Trust
from edged.core.types import FrameResult
from edged.oneshot.follow import Follower, Summary
from edged.oneshot.look import Look, detect, frames
from edged.oneshot.outputs import EventLines, JsonLines, Pictures
from edged.oneshot.sources import Item, expand
from edged.publish.identity import origin

_MOST_PATHS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Request:
    """The options of the command line.

    Attributes:
        sources: as given.
        model: keys of `[model]` that were given.
        engine: keys of `[engine]` that were given.
        out: folder for annotated pictures and videos; None for none.
        jsonl: file for JSON lines, `-` for standard output, empty for none.
        frames: stop after so many; None for all.
        events: file for events as JSON lines, `-` for standard output, empty for none.
        config: a configuration whose tracking, filters and camera's geometry hold for the videos; None: the defaults.
        camera: which of its cameras; empty where there is one.
        trust: whose certificates are accepted.
    """

    sources: tuple[str, ...]
    model: Mapping[str, object] = field(default_factory=dict)
    engine: Mapping[str, object] = field(default_factory=dict)
    out: Path | None = None
    jsonl: str = ""
    frames: int | None = None
    events: str = ""
    config: Path | None = None
    camera: str = ""
    trust: Trust = USUAL


def run_once(request: Request) -> int:
    """Detect in all sources; returns the exit code: 0, or that of the first source that failed.

    Raises:
        EdgedError: an option is wrong, a file cannot be written, or the model or the detector fails.
    """
    if "-" == request.events == request.jsonl:
        raise UsageError("--events and --jsonl cannot both go to standard output; name a file for one of them")
    items = expand(request.sources)
    model, engine = _settings(request)
    loaded = load_model(model, engine)
    manifest = loaded.bundle.manifest
    scene = _scene(request, manifest)
    report = _Report(manifest.classes, quiet="-" in {request.jsonl, request.events})
    speaker = origin(device=Device().id, model=manifest.name, classes=manifest.classes)
    with ExitStack() as resources:
        resources.enter_context(closing(loaded.detector))
        resources.enter_context(redacted_stderr())
        pictures = lines = events = None
        if request.out:
            drawn = Pictures(request.out, classes=manifest.classes, outlines=_outlines(scene))
            pictures = resources.enter_context(closing(drawn))
        if request.jsonl:
            lines = resources.enter_context(closing(JsonLines(request.jsonl, option="--jsonl", origin=speaker)))
        if request.events:
            events = resources.enter_context(closing(EventLines(request.events, option="--events", origin=speaker)))
        follower = Follower(scene, classes=manifest.classes, model=manifest.name, lines=events)
        outputs = Outputs(pictures, lines, follower)
        looks = islice(frames(items, trust=request.trust, on_error=report.failed), request.frames)
        _look(items, looks, loaded, report, outputs)
    report.summary(pictures.written if pictures else [], backend=loaded.backend, happened=follower.summary)
    return report.exit_code


def _settings(request: Request) -> tuple[Model, Engine]:
    try:
        return Model.model_validate(request.model), Engine.model_validate(request.engine)
    except ValidationError as exc:
        first = exc.errors()[0]
        raise UsageError(f"--{first['loc'][0]}: {first['msg']}, got {first['input']!r}") from None


def _look(items: list[Item], looks: Iterator[Look], loaded: LoadedModel, report: _Report, outputs: Outputs) -> None:
    only_pictures = all(item.is_picture for item in items)
    # tqdm's None means: a bar only on a terminal. Pictures are reported line by line instead.
    for look, result in tqdm(detect(looks, loaded.detector), unit=" frames", disable=only_pictures or None):
        report.add(look.item, result.detections.class_id.tolist(), result.timings["detect"])
        outputs.write(look, outputs.follower.follow(look, result))
    outputs.follower.close()


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where the results of each frame go."""

    pictures: Pictures | None
    lines: JsonLines | None
    follower: Follower

    def write(self, look: Look, result: FrameResult) -> None:
        """Write one frame's."""
        if self.lines:
            self.lines.write(result, source=look.location)
        if self.pictures:
            numbers = self.follower.numbers()
            self.pictures.write(look.item, look.frame, result, fps=look.fps, numbers=numbers)


def _scene(request: Request, manifest: Manifest) -> SceneOptions:
    """Tracking, filters and geometry for every video.

    Raises:
        ConfigError: the configuration is wrong, or names a class that the model does not know.
        UsageError: it has no such camera.
    """
    if request.config is None:
        if request.camera:
            raise UsageError("--camera names a camera of a configuration: name that, too, with --config FILE")
        return SceneOptions()
    settings = load_settings(request.config)
    scenes = scene_options(settings, classes=manifest.classes, model=manifest.name)
    name = request.camera or next(iter(scenes))
    if name not in scenes or (len(scenes) > 1 and not request.camera):
        wanted = f"no camera {name!r}" if request.camera else "several cameras: say which with --camera NAME"
        raise UsageError(f"{request.config}: {wanted}; it has {', '.join(scenes)}")
    return scenes[name]


def _outlines(scene: SceneOptions) -> list[Outline]:
    zones = [Outline(zone.points, zone.name, closed=True) for zone in scene.zones]
    masks = [Outline(mask.points, "mask", closed=True) for mask in scene.masks]
    return [*masks, *zones, *(Outline(line.points, line.name, closed=False) for line in scene.lines)]


class _Report:
    """Output for people: a line per picture, a summary, and every failure."""

    def __init__(self, classes: tuple[str, ...], *, quiet: bool) -> None:
        self._classes = classes
        self._quiet = quiet  # JSON goes to standard output, so text goes to standard error
        self._objects: Counter[str] = Counter()
        self._frames = 0
        self._milliseconds = 0.0
        self.exit_code = 0

    def failed(self, item: Item, error: EdgedError) -> None:
        """Report what could not be read, and remember the first exit code."""
        said = redact(str(error))
        complain(f"edged: error: {said}" if item.shown in said else f"edged: error: {item.shown}: {said}")
        self.exit_code = self.exit_code or error.exit_code

    def add(self, item: Item, class_ids: list[int], milliseconds: float) -> None:
        """Count one frame."""
        counts = Counter(self._classes[class_id] for class_id in class_ids)
        self._frames += 1
        self._objects += counts
        self._milliseconds += milliseconds
        if item.is_picture:
            self._say(f"{item.shown}: {_listed(counts)}, {milliseconds:.1f} ms")

    def summary(self, written: list[Path], *, backend: str, happened: Summary) -> None:
        """Print the last lines: totals and written files."""
        if self._frames:
            each = f"{self._milliseconds / self._frames:.1f} ms each"
            self._say(f"{self._frames} frames on {backend}, {each}: {_listed(self._objects)}")
        else:
            self._say("no frame was looked at")
        if happened.starts:
            self._say(f"{happened.starts.total()} events: {_listed(happened.starts)}")
        for (line, label, direction), number in sorted(happened.crossings.items()):
            self._say(f"line {line}: {number} {label} {direction}")
        for path in written[:_MOST_PATHS_SHOWN]:
            self._say(f"wrote {path}")
        if len(written) > _MOST_PATHS_SHOWN:
            self._say(f"and {len(written) - _MOST_PATHS_SHOWN} more")

    def _say(self, text: str) -> None:
        # A file name that is not UTF-8 must not end the run.
        shown = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        complain(shown) if self._quiet else print(shown)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.most_common()) or "nothing"
