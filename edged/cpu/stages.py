"""The stages before and after the model: in C where it was compiled, else in numpy."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edged.core.decode import BOX_CHANNELS, Decode, GridDecode, ListDecode
from edged.core.letterbox import Letterbox
from edged.core.types import Detections, Floats, Thresholds
from edged.cpu import native
from edged.cpu.decode import Decoder, class_flags
from edged.cpu.nms import nms
from edged.cpu.preprocess import Filler, FillerFactory, after_scaling, numpy_filler
from edged.cpu.rows import select_rows
from edged.cpu.scaling import NativeScaler, suits

_NUMPY = "numpy"


class Finisher(Protocol):
    """Makes detections from the outputs of one model, in frame pixels. One thread at a time."""

    def __call__(self, box: Letterbox, limits: Thresholds) -> tuple[Detections, int]:
        """The detections in the present content of the outputs.

        Args:
            box: letterbox of the frame in the network's input.
            limits: thresholds and classes.

        Returns:
            A new `Detections` in frame pixels, and when decode had ended (CLOCK_MONOTONIC, nanoseconds).
        """


class GridFinisherFactory(Protocol):
    """Makes a `Finisher` of grid heads: decode, NMS, back to frame pixels."""

    def __call__(self, heads: Sequence[Floats], decode: GridDecode) -> Finisher:
        """For `heads`, the model's outputs: float32 in the shapes that `decode` gives; each run overwrites them."""


class NumpyFinisher:
    """The reference `Finisher` of grid heads, in numpy."""

    def __init__(self, heads: Sequence[Floats], decode: GridDecode) -> None:
        self._heads = heads
        self._classes = heads[0].shape[0] // len(decode.anchors[0]) - BOX_CHANNELS
        self._decode = Decoder(decode)

    def __call__(self, box: Letterbox, limits: Thresholds) -> tuple[Detections, int]:
        """The detections in the heads, in frame pixels, and when decode had ended (CLOCK_MONOTONIC, nanoseconds)."""
        wanted = class_flags(limits.class_ids, self._classes) if limits.class_ids else None
        found = self._decode(self._heads, threshold=limits.confidence, wanted=wanted)
        decoded_ns = time.monotonic_ns()
        kept = nms(
            found.xyxy, found.score, found.class_id, iou_threshold=limits.iou, max_detections=limits.max_detections
        )
        return Detections(box.to_frame(found.xyxy[kept]), found.score[kept], found.class_id[kept]), decoded_ns


class ListFinisher:
    """The `Finisher` of a `ListDecode`, in numpy: so few rows need no machine code, and nothing is suppressed.

    Args:
        rows: (N, 6) float32, the model's output; each run overwrites it.
        classes: number of the model's classes.
    """

    def __init__(self, rows: Floats, classes: int) -> None:
        self._rows = rows
        self._classes = classes

    def __call__(self, box: Letterbox, limits: Thresholds) -> tuple[Detections, int]:
        """The best rows, in frame pixels, and when they had been picked (CLOCK_MONOTONIC, nanoseconds)."""
        wanted = class_flags(limits.class_ids, self._classes) if limits.class_ids else None
        found = select_rows(
            self._rows,
            threshold=limits.confidence,
            classes=self._classes,
            wanted=wanted,
            max_detections=limits.max_detections,
        )
        picked_ns = time.monotonic_ns()
        return Detections(box.to_frame(found.xyxy), found.score, found.class_id), picked_ns


@dataclass(frozen=True, slots=True)
class Stages:
    """One implementation of the stages around the model; all give the same bits.

    Attributes:
        made_of: its name, for people.
        filler: makes a `Filler`, which scales a picture into the input.
        grid_finisher: makes a `Finisher`, which makes detections from grid heads.
    """

    made_of: str
    filler: FillerFactory
    grid_finisher: GridFinisherFactory

    def finisher(self, outputs: Sequence[Floats], decode: Decode, *, classes: int) -> Finisher:
        """Make the `Finisher` of a model.

        Args:
            outputs: the model's, float32, without the batch; each run overwrites them.
            decode: what they mean.
            classes: number of the model's classes.
        """
        match decode:
            case GridDecode():
                return self.grid_finisher(outputs, decode)
            case ListDecode():
                return ListFinisher(outputs[0], classes)

    def described(self, decode: Decode) -> str:
        """What stands around a model of this decode, for people."""
        listed = isinstance(decode, ListDecode) and self.made_of != _NUMPY
        return f"{self.made_of} before it, {_NUMPY} behind it" if listed else self.made_of


def native_filler(box: Letterbox, planes: Floats) -> Filler:
    """A `FillerFactory` in C; scales and writes in one pass where `suits` says so."""
    return NativeScaler(box, planes) if suits(box) else after_scaling(box, native.NativePlanes(planes))


NUMPY = Stages(_NUMPY, numpy_filler, NumpyFinisher)
NATIVE = Stages("machine code", native_filler, native.NativeFinisher)


def fastest() -> Stages:
    """The stages in C where they were compiled, else those in numpy."""
    return NUMPY if native.library() is None else NATIVE
