"""Compares a model with the float32 one, over frames that calibration did not use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edged.core.errors import DataError
from edged.core.protocols import TunableDetector
from edged.core.types import Pixels
from provisioning.data.pictures import read_picture
from provisioning.data.samples import Sample, load_split
from provisioning.data.spec import read_spec
from provisioning.evaluation.metrics import Evaluator
from provisioning.evaluation.run import true_boxes
from provisioning.frames.frameset import FrameSet
from provisioning.verify.agreement import Agreement, agreement
from provisioning.verify.gate import Gate, Precision, Verdict, judge_labelled, judge_unlabelled
from provisioning.verify.observe import METRICS, SERVICE, Observation, observe


@dataclass(frozen=True, slots=True)
class Labelled:
    """A labelled split to measure average precision on.

    Attributes:
        samples: pictures with their objects.
        class_ids: class id of the model for each class id of the data set.
    """

    samples: tuple[Sample, ...]
    class_ids: tuple[int, ...]

    @classmethod
    def read(cls, spec_file: Path, classes: Sequence[str], *, split: str = "val") -> Labelled:
        """Read a data-set YAML; its classes are matched with the model's `classes` by name.

        Raises:
            DataError: no such split, defective labels, or a class that the model does not know.
        """
        spec = read_spec(spec_file)
        unknown = [name for name in spec.names if name not in classes]
        if unknown:
            raise DataError(f"{spec_file}: the model does not know the class {unknown[0]!r}")
        samples, _ = load_split(spec, split)
        return cls(tuple(samples), tuple(list(classes).index(name) for name in spec.names))


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Both models over the same frames.

    Attributes:
        reference: what the float32 model found.
        candidate: what the other model found.
        agreement: of the two.
        precisions: of reference and candidate on labelled pictures; empty without these.
        verdict: whether the candidate passed the gate.
    """

    reference: Observation
    candidate: Observation
    agreement: Agreement
    precisions: tuple[Precision, ...]
    verdict: Verdict


def compare(
    reference: TunableDetector,
    candidate: TunableDetector,
    frames: FrameSet,
    gate: Gate,
    labelled: Labelled | None = None,
) -> Comparison:
    """Run both models over the verification frames, and over labelled pictures if there are any.

    Args:
        reference: the float32 model.
        candidate: the model to be verified.
        frames: only those for verification are used.
        gate: the limits.
        labelled: decides in place of the frames, if given.

    Raises:
        DataError: there are no frames for verification, or one cannot be read.
        DetectorError: a device or model failed.
    """
    total = len(frames.of("verification"))
    if not total:
        raise DataError(f"{frames.folder} keeps no frames for verification", remedy="sample with --verification 50")
    observations = [
        observe(detector, frames.pictures("verification"), limits=SERVICE, label=label, total=total)
        for label, detector in (("float32", reference), ("candidate", candidate))
    ]
    found = agreement(observations[0].detections, observations[1].detections)
    precisions: tuple[Precision, ...] = ()
    verdict = judge_unlabelled(gate, found)
    if labelled is not None:
        precisions = tuple(precision(detector, labelled) for detector in (reference, candidate))
        verdict = judge_labelled(gate, *precisions)
    return Comparison(observations[0], observations[1], found, precisions, verdict)


def precision(detector: TunableDetector, labelled: Labelled) -> Precision:
    """Average precision of a detector by COCO's definition (confidence 0.001, IoU 0.6, 300 detections).

    Raises:
        DataError: a picture cannot be read.
        DetectorError: the device or the model failed.
    """
    pictures = _pictures(labelled.samples)
    seen = observe(detector, pictures, limits=METRICS, label="labelled", total=len(labelled.samples))
    evaluator = Evaluator([str(number) for number in range(max(labelled.class_ids) + 1)])
    for sample, found in zip(labelled.samples, seen.detections, strict=True):
        true_class = sample.labels.class_id.copy()
        for data_id, model_id in enumerate(labelled.class_ids):
            true_class[sample.labels.class_id == data_id] = model_id
        pixels = read_picture(sample.picture)
        evaluator.add(found, true_xyxy=true_boxes(sample, pixels), true_class=true_class)
    result = evaluator.result()
    return Precision(len(labelled.samples), result.map50, result.map50_95)


def _pictures(samples: Sequence[Sample]) -> Iterator[Pixels]:
    for sample in samples:
        yield read_picture(sample.picture)
