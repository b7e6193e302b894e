"""Runs a predictor over the samples of a split and computes the metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from edged.core.boxes import box_cxcywh_to_xyxy
from edged.core.types import Floats, Ints, Pixels
from provisioning.data.pictures import read_picture
from provisioning.data.samples import Sample
from provisioning.evaluation.metrics import Evaluation, Evaluator
from provisioning.evaluation.prediction import Prediction, Predictor

Observer = Callable[[Sample, Pixels, Prediction, Floats, Ints], None]


@dataclass(frozen=True, slots=True, eq=False)
class SplitResult:
    """Metrics, and the mean milliseconds per picture by stage."""

    evaluation: Evaluation
    timings: dict[str, float]


def evaluate(
    predict: Predictor,
    samples: Sequence[Sample],
    names: Sequence[str],
    *,
    batch_size: int = 16,
    progress: bool = False,
    observe: Observer | None = None,
) -> SplitResult:
    """Evaluate a model on all samples.

    Args:
        predict: the model.
        samples: pictures with labels.
        names: the classes, by class id.
        batch_size: pictures passed to `predict` at once.
        progress: show a bar on a terminal.
        observe: called for every picture with sample, pixels, prediction, labelled boxes (xyxy, pixels) and classes.

    Raises:
        DataError: a picture cannot be read.
    """
    evaluator = Evaluator(names)
    times: dict[str, list[float]] = {}
    with tqdm(total=len(samples), desc="val", unit="picture", disable=None if progress else True, leave=False) as bar:
        for group in _groups(samples, batch_size):
            pictures = [read_picture(sample.picture) for sample in group]
            for sample, pixels, prediction in zip(group, pictures, predict(pictures), strict=True):
                xyxy, class_id = true_boxes(sample, pixels), sample.labels.class_id
                evaluator.add(prediction.detections, true_xyxy=xyxy, true_class=class_id)
                if observe is not None:
                    observe(sample, pixels, prediction, xyxy, class_id)
                for stage, milliseconds in prediction.timings.items():
                    times.setdefault(stage, []).append(milliseconds)
            bar.update(len(group))
    return SplitResult(evaluator.result(), {stage: float(np.mean(values)) for stage, values in times.items()})


def true_boxes(sample: Sample, pixels: Pixels) -> Floats:
    """The labelled boxes, (N, 4) float32 xyxy in the picture's pixels, clipped to it."""
    size = np.array((pixels.shape[1], pixels.shape[0]) * 2, np.float32)
    return np.clip(box_cxcywh_to_xyxy(sample.labels.cxcywh * size), np.float32(0), size)


def _groups(samples: Sequence[Sample], size: int) -> Iterator[Sequence[Sample]]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]
