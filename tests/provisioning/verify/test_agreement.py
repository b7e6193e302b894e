"""Agreement, gate and report on detections made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edged.core.types import Detections
from provisioning.verify.agreement import agreement
from provisioning.verify.gate import Gate, Precision, judge_labelled, judge_unlabelled


def boxes(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    """Rows of x1, y1, x2, y2, score, class, by falling score."""
    array = np.array(rows, np.float64).reshape(-1, 6)
    return Detections(array[:, :4].astype(np.float32), array[:, 4].astype(np.float32), array[:, 5].astype(np.int32))


A = (0, 0, 10, 10, 0.9, 0)
B = (50, 50, 90, 90, 0.8, 1)


@pytest.mark.parametrize(
    ("reference", "candidate", "matched", "f1"),
    [
        pytest.param([], [], 0, 1.0, id="both-empty"),
        pytest.param([A], [], 0, 0.0, id="missed"),
        pytest.param([], [A], 0, 0.0, id="invented"),
        pytest.param([A, B], [A, B], 2, 1.0, id="equal"),
        pytest.param([A, B], [A], 1, 2 / 3, id="one-missed"),
        pytest.param([A], [(0, 0, 10, 10, 0.9, 1)], 0, 0.0, id="other-class"),
        pytest.param([A], [(0, 0, 10, 4.9, 0.9, 0)], 0, 0.0, id="below-iou"),
        pytest.param([A], [(0, 0, 10, 5.1, 0.9, 0)], 1, 1.0, id="above-iou"),
        pytest.param([A], [A, A], 1, 2 / 3, id="each-counts-once"),
    ],
)
def test_agreement_counts_pairs(reference: list[object], candidate: list[object], matched: int, f1: float) -> None:
    found = agreement([boxes(*reference)], [boxes(*candidate)])  # type: ignore[arg-type]
    assert found.matched == matched
    assert found.f1 == pytest.approx(f1)


def test_agreement_of_pairs_tells_iou_and_scores() -> None:
    found = agreement([boxes(A), boxes(B)], [boxes((0, 0, 10, 8, 0.7, 0)), boxes(B)])
    assert found.mean_iou == pytest.approx(0.9)
    assert found.mean_score_difference == pytest.approx(0.1)
    assert found.max_score_difference == pytest.approx(0.2)


def test_agreement_of_crowded_boxes_compares_each_with_its_own_partner() -> None:
    reference = boxes((0, 0, 10, 10, 0.9, 0), (0, 0, 10, 8, 0.5, 0))
    candidate = boxes(
        (0, 0, 10, 10, 0.9, 0), (0, 0, 10, 9.4, 0.5, 0)
    )  # the second is nearest to the first, which is taken
    found = agreement([reference], [candidate])
    assert found.matched == 2
    assert found.max_score_difference == pytest.approx(0.0)
    assert found.mean_iou == pytest.approx((1 + 8 / 9.4) / 2)


def test_agreement_never_matches_across_pictures() -> None:
    assert agreement([boxes(A), boxes()], [boxes(), boxes(A)]).matched == 0


@pytest.mark.parametrize(
    ("count", "kept", "passed", "said"),
    [
        pytest.param(49, 49, False, "show too little: float32 finds 49 boxes", id="too-few"),
        pytest.param(50, 50, True, "F1 1.000 against 50", id="just-enough"),
        pytest.param(100, 70, False, "F1 0.824", id="below"),
        pytest.param(100, 85, True, "F1 0.919", id="above"),
    ],
)
def test_unlabelled_gate(count: int, kept: int, passed: bool, said: str) -> None:  # noqa: FBT001
    found = agreement([boxes(A)] * count, [boxes(A)] * kept + [boxes()] * (count - kept))
    verdict = judge_unlabelled(Gate(), found)
    assert verdict.passed == passed
    assert said in verdict.reason


@pytest.mark.parametrize(("candidate", "passed"), [(0.351, True), (0.3449, False), (0.36, True)])
def test_labelled_gate_is_by_the_fall(candidate: float, passed: bool) -> None:  # noqa: FBT001
    verdict = judge_labelled(Gate(), Precision(128, 0.55, 0.355), Precision(128, 0.5, candidate))
    assert verdict.passed == passed
    assert f"{candidate:.4f} against 0.3550" in verdict.reason
