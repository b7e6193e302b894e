"""Writes curves, confusion matrix and label distribution as PNG files. The only module that imports matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edged.core.errors import EdgedError
from provisioning.data.samples import Sample
from provisioning.evaluation.confusion import ConfusionMatrix
from provisioning.evaluation.metrics import CONFIDENCE_POINTS, RECALL_POINTS, Evaluation

_LEGEND_CLASSES = 15  # with more lines there is no legend
_NUMBERED_CLASSES = 30  # larger matrices have no numbers
_DPI = 150


def write_curves(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write precision over recall, and F1, precision and recall over confidence, at IoU 0.5. Returns the files.

    Raises:
        EdgedError: the folder cannot be written.
    """
    results = evaluation.by_class
    lines = {evaluation.names[number]: result for number, result in results.items()}
    written = [
        _curves(
            folder / "pr_curve.png",
            RECALL_POINTS,
            {name: result.precision_at_recall for name, result in lines.items()},
            labels=("recall", "precision"),
            title=f"mAP50 {evaluation.map50:.3f}",
        )
    ]
    best = f"best F1 at {evaluation.best_confidence:.2f}"
    for key, name in (("f1", "F1"), ("precision", "precision"), ("recall", "recall")):
        values = {title: getattr(result, key) for title, result in lines.items()}
        file = folder / f"{key[0] if key != 'f1' else key}_curve.png"
        written.append(_curves(file, CONFIDENCE_POINTS, values, labels=("confidence", name), title=best))
    return written


def write_confusion(confusion: ConfusionMatrix, folder: Path) -> Path:
    """Write the matrix, colours by the share of each column. Returns the file.

    Raises:
        EdgedError: the folder cannot be written.
    """
    names = [*confusion.names, "background"]
    totals = confusion.counts.sum(axis=0, keepdims=True)
    shares = confusion.counts / np.maximum(totals, 1)
    side = min(14.0, 4 + 0.35 * len(names))
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("labelled")
    axes.set_ylabel("found")
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    if len(names) <= _NUMBERED_CLASSES:
        for row, column in zip(*np.nonzero(confusion.counts), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"  # noqa: PLR2004  # half way to dark blue
            axes.text(column, row, str(confusion.counts[row, column]), ha="center", va="center", color=colour)
    return _save(figure, folder / "confusion_matrix.png")


def write_label_distribution(samples: Sequence[Sample], names: Sequence[str], folder: Path) -> Path:
    """Write how many objects each class has, where they are, and how large. Returns the file.

    Raises:
        EdgedError: the folder cannot be written.
    """
    class_id = np.concatenate([sample.labels.class_id for sample in samples])
    boxes = np.concatenate([sample.labels.cxcywh for sample in samples])
    width = min(40.0, max(4.0, 0.2 * len(names)))  # inches, so that the names of many classes stay apart
    figure = Figure(figsize=(width + 9, 4), layout="constrained")
    bars, centres, sizes = figure.subplots(1, 3, width_ratios=(width, 4.5, 4.5))
    bars.bar(range(len(names)), np.bincount(class_id, minlength=len(names)))
    bars.set_xticks(range(len(names)), names, rotation=90)
    bars.set_ylabel("objects")
    _density(centres, boxes[:, 0], boxes[:, 1], labels=("centre x", "centre y"))
    centres.invert_yaxis()
    _density(sizes, boxes[:, 2], boxes[:, 3], labels=("width", "height"))
    return _save(figure, folder / "labels.png")


def _curves(file: Path, x: np.ndarray, lines: dict[str, np.ndarray], *, labels: tuple[str, str], title: str) -> Path:
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot()
    few = len(lines) <= _LEGEND_CLASSES
    for name, values in lines.items():
        axes.plot(x, values, linewidth=1, label=name if few else None, color=None if few else "0.8")
    if len(lines) > 1:
        mean = np.mean(list(lines.values()), axis=0)
        axes.plot(x, mean, linewidth=2.5, color="tab:blue", label="all classes")
    axes.set(xlabel=labels[0], ylabel=labels[1], xlim=(0, 1), ylim=(0, 1.02), title=title)
    axes.grid(alpha=0.3)
    if lines:
        axes.legend(loc="lower left")
    return _save(figure, file)


def _density(axes: Axes, x: np.ndarray, y: np.ndarray, *, labels: tuple[str, str]) -> None:
    axes.hist2d(x, y, bins=50, range=((0, 1), (0, 1)), cmap="Blues")
    axes.set(xlabel=labels[0], ylabel=labels[1])


def _save(figure: Figure, file: Path) -> Path:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=_DPI)
    except OSError as exc:
        raise EdgedError(f"{file} cannot be written: {exc.strerror}", remedy="free some space") from exc
    return file
