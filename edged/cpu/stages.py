"""The stages around the model: in machine code where it was built, else in numpy."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edged.core.decode import BOX_CHANNELS, Decode
from edged.core.letterbox import Letterbox
from edged.core.types import Detections, Floats, Thresholds
from edged.cpu import native
from edged.cpu.decode import Decoder, class_flags
from edged.cpu.nms import nms
from edged.cpu.preprocess import Filler, FillerFactory, after_scaling, numpy_filler
from edged.cpu.scaling import NativeScaler, suits


class Finisher(Protocol):
    """Makes detections of the heads that it was bound to: decode, NMS, back to frame pixels. One thread at a time."""

    def __call__(self, box: Letterbox, limits: Thresholds) -> tuple[Detections, int]:
        """What the heads hold now.

        Args:
            box: where the frame lay in the network's input.
            limits: what counts.

        Returns:
            The detections, in memory of their own, and when decode had ended (CLOCK_MONOTONIC, nanoseconds).
        """


class FinisherFactory(Protocol):
    """Binds a `Finisher`."""

    def __call__(self, heads: Sequence[Floats], decode: Decode) -> Finisher:
        """To the model's outputs, float32 of the shapes that `decode` gives, which each run of the model overwrites."""


class NumpyFinisher:
    """The reference, see `Finisher`."""

    def __init__(self, heads: Sequence[Floats], decode: Decode) -> None:
        self._heads = heads
        self._classes = heads[0].shape[0] // len(decode.anchors[0]) - BOX_CHANNELS
        self._decode = Decoder(decode)

    def __call__(self, box: Letterbox, limits: Thresholds) -> tuple[Detections, int]:
        """See `Finisher`."""
        wanted = class_flags(limits.class_ids, self._classes) if limits.class_ids else None
        found = self._decode(self._heads, threshold=limits.confidence, wanted=wanted)
        decoded_ns = time.monotonic_ns()
        kept = nms(
            found.xyxy, found.score, found.class_id, iou_threshold=limits.iou, max_detections=limits.max_detections
        )
        return Detections(box.to_frame(found.xyxy[kept]), found.score[kept], found.class_id[kept]), decoded_ns


@dataclass(frozen=True, slots=True)
class Stages:
    """One set of them; every set gives the same bits.

    Attributes:
        made_of: for people.
        filler: makes what scales a picture into the input.
        finisher: what makes detections of heads.
    """

    made_of: str
    filler: FillerFactory
    finisher: FinisherFactory


def native_filler(box: Letterbox, planes: Floats) -> Filler:
    """See `FillerFactory`: in one pass where this processor can and it is faster."""
    return NativeScaler(box, planes) if suits(box) else after_scaling(box, native.NativePlanes(planes))


NUMPY = Stages("numpy", numpy_filler, NumpyFinisher)
NATIVE = Stages("machine code", native_filler, native.NativeFinisher)


def fastest() -> Stages:
    """Those that were built."""
    return NUMPY if native.library() is None else NATIVE
