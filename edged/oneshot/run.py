"""Runs one `edged detect`: writes pictures, JSON lines and a summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from pydantic import ValidationError
from tqdm import tqdm

from edged.assembly.model import LoadedModel, load_model
from edged.config.schema import Device, Engine, Model
from edged.core.errors import EdgedError, UsageError
from edged.core.exits import complain
from edged.core.redact import redact
from edged.core.stderr import redacted_stderr
from edged.oneshot.look import detect, frames
from edged.oneshot.outputs import JsonLines, Pictures
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
    """

    sources: tuple[str, ...]
    model: Mapping[str, object] = field(default_factory=dict)
    engine: Mapping[str, object] = field(default_factory=dict)
    out: Path | None = None
    jsonl: str = ""
    frames: int | None = None


def run_once(request: Request) -> int:
    """Detect in all sources; returns the exit code: 0, or that of the first source that failed.

    Raises:
        EdgedError: an option is wrong, a file cannot be written, or the model or the detector fails.
    """
    items = expand(request.sources)
    model, engine = _settings(request)
    loaded = load_model(model, engine)
    manifest = loaded.bundle.manifest
    report = _Report(manifest.classes, quiet=request.jsonl == "-")
    with ExitStack() as resources:
        resources.enter_context(closing(loaded.detector))
        resources.enter_context(redacted_stderr())
        pictures = lines = None
        if request.out:
            pictures = resources.enter_context(closing(Pictures(request.out, classes=manifest.classes)))
        if request.jsonl:
            speaker = origin(device=Device().id, model=manifest.name, classes=manifest.classes)
            lines = resources.enter_context(closing(JsonLines(request.jsonl, origin=speaker)))
        _look(items, loaded, report, limit=request.frames, pictures=pictures, lines=lines)
    report.summary(pictures.written if pictures else [], backend=loaded.backend)
    return report.exit_code


def _settings(request: Request) -> tuple[Model, Engine]:
    try:
        return Model.model_validate(request.model), Engine.model_validate(request.engine)
    except ValidationError as exc:
        first = exc.errors()[0]
        raise UsageError(f"--{first['loc'][0]}: {first['msg']}, got {first['input']!r}") from None


def _look(
    items: list[Item],
    loaded: LoadedModel,
    report: _Report,
    *,
    limit: int | None,
    pictures: Pictures | None,
    lines: JsonLines | None,
) -> None:
    looks = islice(frames(items, on_error=report.failed), limit)
    only_pictures = all(item.is_picture for item in items)
    # tqdm's None means: a bar only on a terminal. Pictures are reported line by line instead.
    for look, result in tqdm(detect(looks, loaded.detector), unit=" frames", disable=only_pictures or None):
        report.add(look.item, result.detections.class_id.tolist(), result.timings["detect"])
        if lines:
            lines.write(result, source=look.location)
        if pictures:
            pictures.write(look.item, look.frame, result, fps=look.fps)


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

    def summary(self, written: list[Path], *, backend: str) -> None:
        """Print the last lines: totals and written files."""
        if self._frames:
            each = f"{self._milliseconds / self._frames:.1f} ms each"
            self._say(f"{self._frames} frames on {backend}, {each}: {_listed(self._objects)}")
        else:
            self._say("no frame was looked at")
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
