"""Formats an evaluation as a table and as JSON values."""

from __future__ import annotations

from typing import Any

from provisioning.evaluation.confusion import ConfusionMatrix
from provisioning.evaluation.matching import IOU_THRESHOLDS
from provisioning.evaluation.metrics import Evaluation
from provisioning.evaluation.run import SplitResult

_STAGES = {"preprocess": "preprocessing", "inference": "inference", "nms": "NMS"}


def table(evaluation: Evaluation) -> str:
    """A table with a line for all classes, then one for each class with labelled objects."""
    width = max([len("class"), *(len(evaluation.names[number]) for number in evaluation.by_class)])
    lines = [f"{'class':<{width}}  {'images':>7} {'instances':>9} {'P':>7} {'R':>7} {'mAP50':>7} {'mAP50-95':>8}"]
    overall = (*evaluation.mean_precision_recall, evaluation.map50, evaluation.map50_95)
    lines.append(_line("all", width, evaluation.pictures, evaluation.instances, overall))
    for number, result in evaluation.by_class.items():
        scores = (*evaluation.precision_recall(number), float(result.ap[0]), float(result.ap.mean()))
        lines.append(_line(evaluation.names[number], width, result.pictures, result.instances, scores))
    return "\n".join(lines)


def speed_line(result: SplitResult) -> str:
    """A line with the mean milliseconds per picture of each stage."""
    stages = [f"{result.timings[key]:.1f} ms {title}" for key, title in _STAGES.items() if key in result.timings]
    return f"speed a picture: {', '.join(stages)}"


def to_plain(result: SplitResult, confusion: ConfusionMatrix) -> dict[str, Any]:
    """The content of the table as JSON values, unrounded, with AP by IoU, the confusion matrix and timings."""
    evaluation = result.evaluation
    precision, recall = evaluation.mean_precision_recall
    return {
        "images": evaluation.pictures,
        "instances": evaluation.instances,
        "precision": precision,
        "recall": recall,
        "map50": evaluation.map50,
        "map50_95": evaluation.map50_95,
        "best_confidence": evaluation.best_confidence,
        "classes": {
            evaluation.names[number]: {
                "images": each.pictures,
                "instances": each.instances,
                "precision": evaluation.precision_recall(number)[0],
                "recall": evaluation.precision_recall(number)[1],
                "map50": float(each.ap[0]),
                "map50_95": float(each.ap.mean()),
                "ap": dict(zip((f"{limit:.2f}" for limit in IOU_THRESHOLDS), each.ap.tolist(), strict=True)),
            }
            for number, each in evaluation.by_class.items()
        },
        "confusion": {"names": [*confusion.names, "background"], "found_by_labelled": confusion.counts.tolist()},
        "milliseconds": dict(result.timings),
    }


def _line(name: str, width: int, pictures: int, instances: int, scores: tuple[float, ...]) -> str:
    precision, recall, map50, map50_95 = scores
    return (
        f"{name:<{width}}  {pictures:>7} {instances:>9} {precision:>7.3f} {recall:>7.3f} {map50:>7.3f} {map50_95:>8.3f}"
    )
