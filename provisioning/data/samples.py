"""Lists the pictures of a split and reads their labels."""

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
_MAX_PATH_BYTES = 4095  # Linux's limit; a longer line is no path
MISSING_PICTURE, LABELS_ELSEWHERE = "missing picture", "labels elsewhere"  # kinds of defects


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture file and the objects in it."""

    picture: Path
    labels: Labels


def list_pictures(sources: Sequence[Path], *, root: Path | None = None) -> list[Path]:
    """The pictures of all sources, sorted, each once; hidden files and folders (with a leading dot) are left out.

    Args:
        sources: folders (searched to any depth), list files, or single pictures.
        root: paths in a list file may start here, or at the list's own folder.

    Raises:
        DataError: a source does not exist, cannot be read, or is none of the three.
    """
    found: dict[Path, None] = {}
    for source in sources:
        found.update(dict.fromkeys(_expand(source, root)))
    return sorted(found)


def read_samples(
    pictures: Sequence[Path], *, classes: int, polygons: bool = False, root: Path | None = None
) -> Iterator[tuple[Sample, list[Defect]]]:
    """Each picture with its labels and their defects. A picture without a label file has no objects.

    Args:
        pictures: the files.
        classes: number of classes of the data set.
        polygons: use the box around each polygon (counted in `Labels.polygons`); otherwise polygons are defects.
        root: folder of the data set, for `label_path`.
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
        skip_bad: leave out pictures that cannot be read or have defective labels; every picture is decoded once to find
            them. Otherwise defective labels are an error.
        polygons: use the box around each polygon; otherwise polygons are defects.

    Returns:
        The samples, and the number of pictures left out, which is also logged.

    Raises:
        DataError: there is no such split, it has no usable pictures or no objects, or labels are defective.
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
    left_out = len(pictures) - len(samples)
    _warn(split, left_out=left_out, polygons=sum(sample.labels.polygons for sample in samples))
    return samples, left_out


def _warn(split: str, *, left_out: int, polygons: int) -> None:
    if left_out:
        logger.warning("%s: %d pictures that are unreadable or have defective labels are left out", split, left_out)
    if polygons:
        logger.warning("%s: the boxes around %d polygons are taken", split, polygons)


def without_box(spec: DataSpec, split: str, pictures: Sequence[Path]) -> str:
    """The message for a split without boxes: where labels were looked for, and where there are some."""
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
    """The samples whose pictures can be decoded; the others are logged."""

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
    """The pictures of a list without hidden ones. A hidden folder that holds the whole data set does not count."""
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
    """The absolute path; links are kept, as labels belong to the name that the data set uses."""
    return Path(os.path.abspath(path))
