"""Reads a whole data set and reports what it holds and what is wrong with it."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from edged.core.errors import DataError
from provisioning.data.label_files import holds_labels, label_path
from provisioning.data.labels import Defect, Severity
from provisioning.data.pictures import FORMATS, decode_and_complain, inspect_picture, read_bytes
from provisioning.data.places import is_there, is_unwritable
from provisioning.data.samples import (
    LABELS_ELSEWHERE,
    MISSING_PICTURE,
    Sample,
    list_pictures,
    read_samples,
    without_box,
)
from provisioning.data.spec import SPLITS, DataSpec

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_SMALL_PX, _LARGE_PX = 32, 96  # COCO's limits between small, medium and large: square root of the area, pixels
_UPRIGHT = 1
_SPARE = "test"  # training does not need this split
_NO_LABELS = frozenset({"classes.txt", "readme.txt", "notes.txt"})  # files of annotation tools in folders of labels


@dataclass(slots=True)
class SplitCounts:
    """The content of a split.

    Attributes:
        pictures: readable pictures.
        polygons: boxes that were computed from a polygon.
        background: pictures without objects; those with defective labels do not count.
        boxes_by_class: objects by class id.
        pictures_by_class: pictures that hold the class.
        sizes_px: square root of each box's area, in the picture's pixels.
        shares: each box's width and height as fractions of the picture.
    """

    pictures: int = 0
    polygons: int = 0
    background: int = 0
    boxes_by_class: Counter[int] = field(default_factory=Counter)
    pictures_by_class: Counter[int] = field(default_factory=Counter)
    sizes_px: list[float] = field(default_factory=list)
    shares: list[tuple[float, float]] = field(default_factory=list)

    @property
    def boxes(self) -> int:
        """Objects of all classes."""
        return self.boxes_by_class.total()


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The outcome of a check.

    Attributes:
        names: the classes, by class id.
        splits: content of each split, by its name.
        defects: everything wrong or unusual, in the order of the files.
    """

    names: tuple[str, ...]
    splits: Mapping[str, SplitCounts]
    defects: Sequence[Defect]

    @property
    def errors(self) -> int:
        """Defects that keep a picture out of training."""
        return sum(defect.severity is Severity.ERROR for defect in self.defects)

    @property
    def missing(self) -> tuple[str, ...]:
        """Splits that training needs and the data set does not have."""
        return tuple(split for split in ("train", "val") if split not in self.splits)

    @property
    def ready(self) -> bool:
        """Whether a training with this data set would start."""
        return not self.errors and not self.missing

    def to_plain(self) -> dict[str, Any]:
        """The report as JSON values; the keys are those of `dataset check --json`."""
        return {
            "names": list(self.names),
            "errors": self.errors,
            "ready": self.ready,
            "missing": list(self.missing),
            "splits": {name: _plain_counts(counts, self.names) for name, counts in self.splits.items()},
            "defects": [
                {
                    "path": str(defect.path),
                    "line": defect.line,
                    "severity": defect.severity.value,
                    "kind": defect.kind,
                    "message": defect.message,
                }
                for defect in self.defects
            ],
        }


def check_dataset(spec: DataSpec, *, polygons: bool = False, progress: bool = False) -> CheckReport:
    """Read every picture and label of every split.

    Args:
        spec: the data set.
        polygons: use the box around each polygon; otherwise polygons are defects.
        progress: show a bar on a terminal.

    Raises:
        DataError: a source of train or val does not exist.
    """
    splits: dict[str, SplitCounts] = {}
    defects = list(spec.defects)
    seen: dict[bytes, tuple[str, Path]] = {}
    listed: dict[Path, list[Path]] = {}  # pictures by their label file
    earlier: dict[str, set[Path]] = {}
    for split in (name for name in SPLITS if name in spec.sources):
        if split == _SPARE and not any(map(is_there, spec.sources[split])):
            what = f"{split}: {spec.sources[split][0]} does not exist"
            defects.append(Defect(spec.file, 0, Severity.WARNING, "missing split", what))
            continue
        pictures = list_pictures(spec.sources[split], root=spec.folder)
        for picture in pictures:
            listed.setdefault(label_path(picture, root=spec.folder), []).append(picture)
        counts = splits[split] = SplitCounts()
        samples = read_samples(pictures, classes=len(spec.names), polygons=polygons, root=spec.folder)
        bar = tqdm(samples, total=len(pictures), desc=split, unit="picture", disable=None if progress else True)
        found = [defect for sample, known in bar for defect in _check_sample(sample, known, counts, split, seen)]
        defects += found
        defects += _check_split(spec, split, pictures, counts, found)
        defects += _shared_pictures(spec, split, pictures, earlier)
        earlier[split] = set(pictures)
    defects += _shared_labels(listed)
    defects += _labels_without_picture(listed)
    return CheckReport(spec.names, splits, defects)


def quantiles(values: Sequence[float]) -> list[float]:
    """The `QUANTILES` of the values; empty without values."""
    return [float(value) for value in np.quantile(values, QUANTILES)] if values else []


def _check_sample(
    sample: Sample, known: Sequence[Defect], counts: SplitCounts, split: str, seen: dict[bytes, tuple[str, Path]]
) -> Iterator[Defect]:
    """Count one sample. Gives its `known` defects and those of its picture."""
    yield from known
    if any(defect.kind == MISSING_PICTURE for defect in known):
        return
    sound = not any(defect.severity is Severity.ERROR for defect in known)
    yield from _check_picture(sample, counts, split, seen, sound=sound)


def _check_split(
    spec: DataSpec, split: str, pictures: Sequence[Path], counts: SplitCounts, found: Sequence[Defect]
) -> Iterator[Defect]:
    """Defects of a split as a whole; `found` are those of its samples."""
    if counts.polygons:
        message = f"{split} holds {counts.polygons} polygons: the box around each is taken"
        yield Defect(spec.file, 0, Severity.NOTE, "polygons", message)
    severity = Severity.WARNING if split == _SPARE else Severity.ERROR
    if not pictures:
        where = ", ".join(map(str, spec.sources[split]))
        message = f"{split} holds no picture ({', '.join(FORMATS)}; hidden ones do not count) in {where}"
        yield Defect(spec.file, 0, severity, "empty split", message)
    elif not counts.boxes:
        kinds = {defect.kind for defect in found if defect.severity is Severity.ERROR}
        if kinds <= {LABELS_ELSEWHERE}:  # other errors explain why there is no box
            yield Defect(spec.file, 0, severity, "no box", without_box(spec, split, pictures))
    else:
        yield from _missing_classes(spec, split, counts)


def _check_picture(
    sample: Sample, counts: SplitCounts, split: str, seen: dict[bytes, tuple[str, Path]], *, sound: bool
) -> Iterator[Defect]:
    """Count one sample and report defects of its picture; `sound` says that its labels have no errors."""
    path = sample.picture
    if is_unwritable(path.name):
        yield Defect(path, 0, Severity.ERROR, "unprintable name", f"its name is {path.name!r}; rename it")
    try:
        content = read_bytes(path)
    except DataError as exc:
        yield Defect(path, 0, Severity.ERROR, "unreadable picture", str(exc))
        return
    facts = inspect_picture(content)
    pixels, complaint = decode_and_complain(content) if facts.whole and not facts.too_large else (None, "")
    if facts.too_large:
        yield Defect(path, 0, Severity.ERROR, "huge picture", facts.too_large)
    elif not facts.whole:
        what = "empty" if not content else "truncated: its end is missing"
        yield Defect(path, 0, Severity.ERROR, "truncated picture", f"the file is {what}")
    elif pixels is None:
        kind = facts.format or "no known picture format"
        yield Defect(path, 0, Severity.ERROR, "unreadable picture", f"cannot be decoded; its bytes look like {kind}")
    else:
        _count(sample, counts, size_wh=(pixels.shape[1], pixels.shape[0]), sound=sound)
        if complaint:
            message = f"parts of it may be grey or garbled; its decoder says: {complaint}"
            yield Defect(path, 0, Severity.WARNING, "damaged picture", message)
    if facts.format and facts.format != FORMATS[path.suffix.lower()]:
        message = f"named {path.suffix}, but its bytes are {facts.format}"
        yield Defect(path, 0, Severity.WARNING, "mislabelled picture", message)
    if facts.orientation != _UPRIGHT:
        message = f"EXIF orientation {facts.orientation}: read upright; labels must be for the upright picture"
        yield Defect(path, 0, Severity.WARNING, "EXIF rotation", message)
    digest = hashlib.blake2b(content, digest_size=16).digest()
    first = seen.setdefault(digest, (split, path))
    if content and first[1] != path:
        where = "" if first[0] == split else f" of {first[0]}: the evaluation would look too good"
        yield Defect(path, 0, Severity.WARNING, "duplicate picture", f"the same bytes as {first[1]}{where}")


def _count(sample: Sample, counts: SplitCounts, *, size_wh: tuple[int, int], sound: bool) -> None:
    counts.pictures += 1
    counts.polygons += sample.labels.polygons
    counts.background += sound and not len(sample.labels)
    counts.boxes_by_class.update(sample.labels.class_id.tolist())
    counts.pictures_by_class.update(set(sample.labels.class_id.tolist()))
    for width, height in sample.labels.cxcywh[:, 2:].tolist():
        counts.sizes_px.append((width * size_wh[0] * height * size_wh[1]) ** 0.5)
        counts.shares.append((width, height))


def _labels_without_picture(expected: Collection[Path]) -> Iterator[Defect]:
    for folder in sorted(filter(os.path.isdir, {path.parent for path in expected})):
        for path in sorted(folder.glob("*.txt")):
            if path in expected or path.name.startswith(".") or path.name.lower() in _NO_LABELS:
                continue
            is_list = os.path.isfile(path) and path.stat().st_size and not holds_labels(path)  # of pictures, or a note
            if not is_list:
                what = "labels without a picture of that name"
                yield Defect(path, 0, Severity.WARNING, "labels without picture", what)


def _shared_pictures(
    spec: DataSpec, split: str, pictures: Sequence[Path], earlier: Mapping[str, Collection[Path]]
) -> Iterator[Defect]:
    """Files that a split shares with earlier ones: one defect for each of these, as it may share all files."""
    for other, theirs in earlier.items():
        shared = [picture for picture in pictures if picture in theirs]
        if shared:
            which = f"{len(shared)} of {len(pictures)} pictures of {split} are those of {other}, the first {shared[0]}"
            message = f"{which}: the evaluation would look too good"
            yield Defect(spec.file, 0, Severity.WARNING, "shared pictures", message)


def _shared_labels(listed: Mapping[Path, Sequence[Path]]) -> Iterator[Defect]:
    for path, pictures in listed.items():
        first, *others = dict.fromkeys(pictures)
        if others and os.path.exists(path):
            what = f"has the same labels as {first}: {path}"
            yield from (Defect(picture, 0, Severity.WARNING, "shared labels", what) for picture in others)


def _missing_classes(spec: DataSpec, split: str, counts: SplitCounts) -> Iterator[Defect]:
    """Classes without an object in this split."""
    missing = [name for number, name in enumerate(spec.names) if not counts.boxes_by_class[number]]
    if missing:
        shown = ", ".join(missing[:10]) + (", ..." if len(missing) > 10 else "")  # noqa: PLR2004  # fits a line
        message = f"{split} holds no object of {len(missing)} classes: {shown}"
        yield Defect(spec.file, 0, Severity.NOTE, "class without object", message)


def _plain_counts(counts: SplitCounts, names: Sequence[str]) -> dict[str, Any]:
    sizes = np.array(counts.sizes_px)
    return {
        "pictures": counts.pictures,
        "background": counts.background,
        "boxes": counts.boxes,
        "polygons": counts.polygons,
        "by_class": {
            name: {"boxes": counts.boxes_by_class[number], "pictures": counts.pictures_by_class[number]}
            for number, name in enumerate(names)
        },
        "box_size_px": dict(zip(map(str, QUANTILES), quantiles(counts.sizes_px), strict=False)),
        "box_width": dict(zip(map(str, QUANTILES), quantiles([w for w, _ in counts.shares]), strict=False)),
        "box_height": dict(zip(map(str, QUANTILES), quantiles([h for _, h in counts.shares]), strict=False)),
        "small": int((sizes < _SMALL_PX).sum()),
        "medium": int(((sizes >= _SMALL_PX) & (sizes < _LARGE_PX)).sum()),
        "large": int((sizes >= _LARGE_PX).sum()),
    }
