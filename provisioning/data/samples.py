"""From a split's sources to its pictures, each with its labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edged.core.errors import DataError
from provisioning.data.labels import Defect, Labels, Severity, read_labels
from provisioning.data.pictures import FORMATS
from provisioning.data.spec import DataSpec


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture file and the objects in it."""

    picture: Path
    labels: Labels


def label_path(picture: Path) -> Path:
    """Where the labels of a picture are: the last folder called `images` becomes `labels`, the suffix `.txt`.

    Without such a folder they lie beside the picture.
    """
    parts = list(picture.parent.parts)
    for position in range(len(parts) - 1, -1, -1):
        if parts[position] == "images":
            parts[position] = "labels"
            break
    return Path(*parts) / f"{picture.stem}.txt"


def list_pictures(sources: Sequence[Path]) -> list[Path]:
    """Every picture that folders (searched to any depth), list files and single pictures name, sorted, once each.

    Raises:
        DataError: a source that does not exist or is none of the three.
    """
    found: dict[Path, None] = {}
    for source in sources:
        found.update(dict.fromkeys(_expand(source)))
    return sorted(found)


def read_samples(pictures: Sequence[Path], *, classes: int) -> Iterator[tuple[Sample, list[Defect]]]:
    """Each picture with its labels and their defects; a picture without a label file is background."""
    for picture in pictures:
        path = label_path(picture)
        labels, defects = read_labels(path, classes=classes) if path.exists() else (Labels.empty(), [])
        yield Sample(picture, labels), defects


def load_split(spec: DataSpec, split: str, *, skip_bad: bool = False) -> tuple[list[Sample], int]:
    """The samples of one split, for training or evaluation. Nothing is repaired.

    Args:
        spec: the data set.
        split: `train`, `val` or `test`.
        skip_bad: leave pictures with defective labels out instead of refusing the data set.

    Returns:
        The samples, and how many were left out.

    Raises:
        DataError: no such split, no pictures in it, or defective labels.
    """
    if split not in spec.sources:
        raise DataError(f"{spec.file} has no split {split} (it has {', '.join(spec.sources)})")
    samples: list[Sample] = []
    errors: list[Defect] = []
    left_out = 0
    for sample, defects in read_samples(list_pictures(spec.sources[split]), classes=len(spec.names)):
        bad = [defect for defect in defects if defect.severity is Severity.ERROR]
        errors += bad
        if bad:
            left_out += 1
        else:
            samples.append(sample)
    if errors and not skip_bad:
        raise DataError(
            f"{spec.file}: {len(errors)} defective labels in {left_out} pictures of {split}, the first: {errors[0]}",
            remedy=f"see all of them with: edged-provision dataset check {spec.file}; leave these pictures out with "
            "--skip-bad",
        )
    if not samples:
        raise DataError(f"{spec.file}: the split {split} holds no usable picture", remedy="check its folder")
    return samples, left_out


def _expand(source: Path) -> Iterator[Path]:
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.suffix.lower() in FORMATS and path.is_file():
                yield path.resolve()
    elif not source.exists():
        raise DataError(f"{source} does not exist", remedy="correct path, train, val or test in the data-set YAML")
    elif source.suffix.lower() in FORMATS:
        yield source.resolve()
    else:
        yield from _listed(source)


def _listed(list_file: Path) -> Iterator[Path]:
    try:
        lines = list_file.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise DataError(f"{list_file} is neither a folder, nor a picture, nor a list of pictures: {exc}") from exc
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        path = (list_file.parent / line.strip()).resolve()
        if path.suffix.lower() not in FORMATS:
            raise DataError(f"{list_file}:{number}: {line.strip()[:120]!r} is not a picture ({', '.join(FORMATS)})")
        yield path
