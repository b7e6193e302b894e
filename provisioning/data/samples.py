"""From a split's sources to its pictures, each with its labels."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from edged.core.errors import DataError
from edged.core.text import decoded_text
from provisioning.data.label_files import MisplacedLabels, folder_of_labels, label_path
from provisioning.data.labels import Defect, Labels, Severity, read_labels
from provisioning.data.pictures import FORMATS, read_picture
from provisioning.data.places import find_place, is_there, is_unwritable, pictures_below
from provisioning.data.spec import DataSpec

logger = logging.getLogger(__name__)

MAX_LIST_BYTES = 1 << 28
_MAX_PATH_BYTES = 4095  # of Linux; a longer line holds several paths, or none
MISSING_PICTURE, LABELS_ELSEWHERE = "missing picture", "labels elsewhere"  # kinds of defects


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture file and the objects in it."""

    picture: Path
    labels: Labels


def list_pictures(sources: Sequence[Path], *, root: Path | None = None) -> list[Path]:
    """Every picture that folders (searched to any depth), list files and single pictures name, sorted, once each.

    Names that begin with a dot are no pictures, nor is what lies in a folder of such a name.

    Args:
        sources: absolute or relative paths.
        root: where paths in a list file may start, too, besides the list's own folder.

    Raises:
        DataError: a source that does not exist or is none of the three.
    """
    found: dict[Path, None] = {}
    for source in sources:
        found.update(dict.fromkeys(_expand(source, root)))
    return sorted(found)


def read_samples(
    pictures: Sequence[Path], *, classes: int, polygons: bool = False, root: Path | None = None
) -> Iterator[tuple[Sample, list[Defect]]]:
    """Each picture with its labels and their defects; a picture without a label file is background.

    Args:
        pictures: the files.
        classes: how many classes the data set has.
        polygons: see `read_labels`; `Labels.polygons` counts them.
        root: folder of the data set, see `label_path`.
    """
    near = MisplacedLabels()
    for picture in pictures:
        path = label_path(picture, root=root)
        labels, defects = Labels.empty(), []
        if not is_there(picture):
            defects = [_missing(picture)]
        elif is_there(path, follow=False):
            labels, defects = read_labels(path, classes=classes, polygons=polygons)
        elif (found := near.of(picture, path)) is not None:
            defects = [_elsewhere(picture, path, found, certain=near.is_certain(picture, path, found))]
        yield Sample(picture, labels), defects


def _missing(picture: Path) -> Defect:
    is_link = os.path.islink(picture)
    what = f"it is a link to {os.readlink(picture)}, which" if is_link else "a list names it, but it"
    return Defect(picture, 0, Severity.ERROR, MISSING_PICTURE, f"{what} does not exist")


def _elsewhere(picture: Path, expected: Path, found: Path, *, certain: bool) -> Defect:
    if certain:
        message = f"its labels are looked for as {expected}, but lie as {found}; move them there"
        return Defect(picture, 0, Severity.ERROR, LABELS_ELSEWHERE, message)
    message = f"it has no labels as {expected} and is background, but {found} holds some"
    return Defect(picture, 0, Severity.WARNING, LABELS_ELSEWHERE, message)


def load_split(
    spec: DataSpec, split: str, *, skip_bad: bool = False, polygons: bool = False
) -> tuple[list[Sample], int]:
    """The samples of one split, for training or evaluation. Nothing is repaired.

    Args:
        spec: the data set.
        split: `train`, `val` or `test`.
        skip_bad: leave pictures out that have defective labels or cannot be read, instead of refusing the data set;
            every picture is decoded once for that.
        polygons: see `read_labels`.

    Returns:
        The samples, and how many were left out.

    Raises:
        DataError: no such split, no pictures in it, no object in all of them, or defective labels.
    """
    if split not in spec.sources:
        raise DataError(
            f"{spec.file} has no split {split} (it has {', '.join(spec.sources)})",
            remedy=f"name its pictures: {split}: FOLDER or LIST.txt",
        )
    pictures = list_pictures(spec.sources[split], root=spec.folder)
    samples: list[Sample] = []
    errors: list[Defect] = []
    for sample, defects in read_samples(pictures, classes=len(spec.names), polygons=polygons, root=spec.folder):
        bad = [defect for defect in defects if defect.severity is Severity.ERROR]
        errors += bad
        if not bad:
            samples.append(sample)
    if errors and not skip_bad:
        raise DataError(
            f"{spec.file}: {len(errors)} defects in {len(pictures) - len(samples)} pictures of {split}, the first: "
            f"{errors[0]}",
            remedy=f"see all of them with: edged-provision dataset check {shlex.quote(str(spec.file))}; leave these "
            "pictures out with --skip-bad",
        )
    if skip_bad:
        samples = _readable(samples)
    if not samples:
        why = f", the first of {len(pictures)}: {errors[0]}" if errors else ""
        raise DataError(f"{spec.file}: the split {split} holds no usable picture{why}", remedy="check its folder")
    if not any(len(sample.labels) for sample in samples):
        raise DataError(f"{spec.file}: {without_box(spec, split, pictures)}")
    return samples, len(pictures) - len(samples)


def without_box(spec: DataSpec, split: str, pictures: Sequence[Path]) -> str:
    """What to say of a split whose pictures hold no box: where labels were looked for, and where there are some."""
    expected = {picture: label_path(picture, root=spec.folder) for picture in pictures}
    missing = [picture for picture, path in expected.items() if not is_there(path, follow=False)]
    start = f"{split} holds no box"
    if not missing:
        return f"{start}: the label files of its {len(pictures)} pictures hold no usable line"
    where = f"{start}: {len(missing)} of {len(pictures)} pictures have no label file, looked for {expected[missing[0]]}"
    known = set(expected.values())
    roots = [spec.folder] if missing[0].is_relative_to(spec.folder) else [spec.folder, missing[0].parent.parent]
    found = next(filter(None, (folder_of_labels(missing, root, known=known) for root in roots)), None)
    if found is None:
        return f"{where}; below {' and '.join(map(str, roots))} there is none of these names"
    return f"{where}; {found[1]} .txt files of these names lie in {found[0]}: move or rename them to what is looked for"


def _readable(samples: Sequence[Sample]) -> list[Sample]:
    """Those whose pictures can be decoded; the others are named in the log."""

    def problem(sample: Sample) -> str:
        try:
            read_picture(sample.picture)
        except DataError as exc:
            return str(exc)
        return ""

    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="pictures") as pool:
        problems = list(pool.map(problem, samples))
    for text in filter(None, problems):
        logger.warning("left out: %s", text)
    return [sample for sample, text in zip(samples, problems, strict=True) if not text]


def _expand(source: Path, root: Path | None) -> Iterator[Path]:
    if os.path.isdir(source):
        yield from map(_absolute, pictures_below(source))
    elif not is_there(source):
        raise DataError(f"{source} does not exist", remedy="correct path, train, val or test in the data-set YAML")
    elif source.suffix.lower() in FORMATS:
        yield _absolute(source)
    else:
        yield from _listed(source, root)


def _listed(list_file: Path, root: Path | None) -> Iterator[Path]:
    try:
        with list_file.open("rb") as stream:
            content = stream.read(MAX_LIST_BYTES + 1)
        lines = decoded_text(content).splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise DataError(f"{list_file} is neither a folder, nor a picture, nor a list of pictures: {exc}") from exc
    if len(content) > MAX_LIST_BYTES:
        raise DataError(f"{list_file} is larger than {MAX_LIST_BYTES} bytes: no list of pictures")
    folder = _absolute(list_file.parent)
    folders = (folder,) if root is None else (folder, root)
    paths: list[Path] = []
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line:
            continue
        if Path(line).suffix.lower() not in FORMATS or is_unwritable(line) or len(os.fsencode(line)) > _MAX_PATH_BYTES:
            raise DataError(f"{list_file}:{number}: {line[:120]!r} is not a picture ({', '.join(FORMATS)})")
        paths.append(find_place(line, *folders))
    yield from _without_hidden(paths)


def _without_hidden(paths: Sequence[Path]) -> Iterator[Path]:
    """What a list names, less what tools hid beside its pictures. The whole data set may lie in a hidden folder."""
    folders = {path.parent for path in paths}
    hidden = {
        folder
        for folder in folders
        if any(part.name.startswith(".") and part.parent in folders for part in (folder, *folder.parents))
    }
    for path in paths:
        if not path.name.startswith(".") and path.parent not in hidden:
            yield path


def _absolute(path: Path) -> Path:
    """Links are kept: labels belong to the name that the data set uses."""
    return Path(os.path.abspath(path))
