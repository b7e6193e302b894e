"""The accuracy gate: how much a quantised model or an engine may lose against the float32 model."""

from __future__ import annotations

from dataclasses import dataclass

from edged.core.errors import DataError
from provisioning.verify.agreement import Agreement

REMEDY = "give more frames, or such that show more objects; calibrate by another method; or choose fp16"


@dataclass(frozen=True, slots=True)
class Gate:
    """The limits.

    Attributes:
        max_fall: with labelled pictures: how far mAP50-95 may fall, 0..1.
        min_f1: without them: F1 against the float32 boxes (IoU 0.5) that must be reached, 0..1.
        min_boxes: without them: float32 boxes that the frames must show; with fewer, the model does not pass.
    """

    max_fall: float = 0.010
    min_f1: float = 0.90
    min_boxes: int = 50


@dataclass(frozen=True, slots=True)
class Precision:
    """Average precision (0..1) on a labelled split of `pictures` pictures."""

    pictures: int
    map50: float
    map50_95: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the model passed, and the reason, for people."""

    passed: bool
    reason: str

    def require_passed(self, name: str, *, report: str = "") -> None:
        """Raise unless it passed.

        Args:
            name: of the bundle.
            report: where a person finds the report, if not in the bundle.

        Raises:
            DataError: the model is below the gate.
        """
        if not self.passed:
            see = f" (see {report})" if report else ""
            raise DataError(f"{name} is not activated: {self.reason}{see}", remedy=REMEDY)


def judge_labelled(gate: Gate, reference: Precision, candidate: Precision) -> Verdict:
    """Judge by the fall of mAP50-95."""
    fall = reference.map50_95 - candidate.map50_95
    said = (
        f"mAP50-95 {candidate.map50_95:.4f} against {reference.map50_95:.4f} in float32 on {reference.pictures} "
        f"labelled pictures: a fall of {fall:.4f}, allowed are {gate.max_fall:.4f}"
    )
    return Verdict(fall <= gate.max_fall, said)


def judge_unlabelled(gate: Gate, found: Agreement) -> Verdict:
    """Judge by F1 against the float32 boxes; with too few of these the model does not pass."""
    if found.reference_boxes < gate.min_boxes:
        said = (
            f"the {found.frames} frames show too little: float32 finds {found.reference_boxes} boxes in them, "
            f"{gate.min_boxes} are needed to judge"
        )
        return Verdict(passed=False, reason=said)
    said = (
        f"F1 {found.f1:.3f} against {found.reference_boxes} float32 boxes at IoU 0.5 in {found.frames} frames, "
        f"needed are {gate.min_f1:.2f}"
    )
    return Verdict(found.f1 >= gate.min_f1, said)
