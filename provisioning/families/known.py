"""The families that are recognised, and what their graphs cannot tell: preprocessing, licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from provisioning.cut.family import ULTRALYTICS
from provisioning.families.pixels import BGR_255, IMAGENET, OPENMMLAB, RGB, Pixels
from provisioning.families.understand import Dense

_DFL_BINS = 16
_NANODET_BINS = 8


@dataclass(frozen=True, slots=True)
class Family:
    """A detector family.

    Attributes:
        name: as the manifest has it, e.g. `yolox`.
        pixels: what its networks are trained on; None where nobody can know.
        licence: of the code and the published weights; empty where the file says it.
    """

    name: str
    pixels: Pixels | None
    licence: str = ""


YOLOX = Family("yolox", BGR_255, "Apache-2.0")
RTMDET = Family("rtmdet", OPENMMLAB, "Apache-2.0")
NANODET = Family("nanodet", OPENMMLAB, "Apache-2.0")
NANODET_PLUS = Family("nanodet-plus", OPENMMLAB, "Apache-2.0")
YOLOV8 = Family("yolov8", RGB)
ANCHOR_FREE = Family("anchor-free", None)
END_TO_END = Family("end-to-end", RGB)  # YOLOv10, YOLO26
DETR = Family("detr", RGB, "Apache-2.0")  # RT-DETR, D-FINE, DEIM
RF_DETR = Family("rf-detr", IMAGENET, "Apache-2.0")


def family_of(dense: Dense, metadata: Mapping[str, str]) -> Family:
    """The family whose heads mean this."""
    code = dense.code
    if named := named_in(metadata):
        return named
    if code.kind == "size":
        return YOLOX
    if code.bins == _DFL_BINS:
        return YOLOV8
    if code.bins == _NANODET_BINS and not dense.table:
        return NANODET if code.offset else NANODET_PLUS
    if not code.bins and code.offset == 0:
        return RTMDET
    return ANCHOR_FREE


def named_in(metadata: Mapping[str, str]) -> Family | None:
    """The family that the metadata name, as the `ultralytics` package writes them."""
    named = ULTRALYTICS.search(metadata.get("description", ""))
    return Family(named[1].lower(), RGB) if named else None


def licence_of(family: Family, metadata: Mapping[str, str]) -> str:
    """What the file says of its licence, else that of the family's published weights; empty if neither is known."""
    stated = metadata.get("license", "").split("(")[0].removesuffix(" ").removesuffix(" License").strip()
    return stated or family.licence
