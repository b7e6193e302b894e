"""Reads a data set in YOLO format, to be converted."""

from __future__ import annotations

from pathlib import Path

from provisioning.data.items import Item, Reading
from provisioning.data.labels import Severity
from provisioning.data.samples import list_pictures, read_samples
from provisioning.data.spec import read_spec
from provisioning.data.voc_splits import share_of


def read_yolo(file: Path, *, val_share: float) -> Reading:
    """Read a data set; the box around each polygon is used.

    Args:
        file: its YAML or obj.data, or the folder that holds it.
        val_share: share (0..1) of the pictures that becomes val, if the data set has only train.

    Raises:
        DataError: it is not a data set, or cannot be read.
    """
    spec = read_spec(file)
    share = val_share if set(spec.sources) == {"train"} else 0.0
    items, defects = [], []
    left_out = polygons = 0
    for split, sources in spec.sources.items():
        pictures = list_pictures(sources, root=spec.folder)
        for sample, found in read_samples(pictures, classes=len(spec.names), polygons=True, root=spec.folder):
            errors = [defect for defect in found if defect.severity is Severity.ERROR]
            defects += errors
            left_out += bool(errors)
            if not errors:
                names = tuple(spec.names[number] for number in sample.labels.class_id)
                place = share_of(sample.picture.stem, share) if share else split
                items.append(Item(sample.picture, place, names, sample.labels.cxcywh))
                polygons += sample.labels.polygons
    remarks = [f"{polygons} polygons: the box around each is taken"] * bool(polygons)
    remarks += [f"a share of {share:g} is val, by name: the data set has nothing but train"] * bool(share)
    return Reading(tuple(items), spec.names, tuple(defects), (), tuple(remarks), left_out=left_out)
