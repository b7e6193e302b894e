"""What every family needs that a graph may not tell: class names and preprocessing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edged.core.errors import DataError, UsageError
from provisioning.cut.heads import metadata_names
from provisioning.families.known import Family
from provisioning.families.pixels import KNOWN, Pixels
from provisioning.families.recognised import COCO_91_NAMES, COCO_NAMES, coco_91_names, coco_names

_BUILT_IN = {len(coco_names()): COCO_NAMES, len(coco_91_names()): COCO_91_NAMES}


def preprocessing(family: Family, asked: str) -> Pixels:
    """What a network wants as its picture: as asked, else as its family is trained.

    Raises:
        UsageError: neither says it.
    """
    known = {each.name: each for each in KNOWN}
    if asked:
        return known[asked]
    if family.pixels is None:
        raise UsageError(
            "a detector without anchors of a family that is not known: what pixels it wants cannot be told",
            remedy=f"give --pixels, one of {', '.join(known)}",
        )
    return family.pixels


def class_names(given: Sequence[str], said: Mapping[str, str], classes: int | None) -> tuple[str, ...]:
    """Class names, by class id: as given, else those of the file's metadata.

    Args:
        given: by the user.
        said: the file's metadata.
        classes: number of classes; None where the graph does not show it.

    Raises:
        UsageError: there are none.
        DataError: there are more or fewer than classes.
    """
    names = tuple(given) or metadata_names(said.get("names", ""))
    if not names:
        count = "as many as it has classes" if classes is None else f"{classes} names"
        built_in = COCO_NAMES if classes is None else _BUILT_IN.get(classes, "")
        coco = f", or --names {built_in} if it was trained on COCO" if built_in else ""
        raise UsageError(
            "the file does not name its classes", remedy=f"give --names FILE with {count}, one a line{coco}"
        )
    if classes is not None and len(names) != classes:
        built_in = _BUILT_IN.get(classes, "")
        raise DataError(
            f"{len(names)} class names for a model of {classes} classes",
            remedy=f"--names {built_in}, if it was trained on COCO" if built_in else "",
        )
    return names
