"""Measures a checkpoint or a bundle on a split of a data set, for `edged-provision val`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edged.core.bundle import MODEL, Bundle
from edged.core.errors import BundleMismatch, DataError, UsageError
from edged.core.types import Detections, Floats, Ints, Pixels, Thresholds
from edged.cpu.detector import CpuDetector
from provisioning.data.samples import Sample, load_split
from provisioning.data.spec import read_spec
from provisioning.evaluation.bundle_predictor import BundlePredictor
from provisioning.evaluation.confusion import ConfusionMatrix
from provisioning.evaluation.prediction import VAL_CONFIDENCE, VAL_DETECTIONS, VAL_IOU, Prediction, Predictor
from provisioning.evaluation.run import SplitResult, evaluate
from provisioning.evaluation.sheets import Sheets

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MeasureSettings:
    """What to measure. The fields are the options of `edged-provision val`.

    Attributes:
        data: description of the data set, or its folder.
        model: a checkpoint (`.pt`) or the directory of a bundle.
        split: train, val or test.
        side: of a checkpoint's square input, pixels, a multiple of 32; a bundle has its own.
        device: for a checkpoint: `cpu`, `cuda` or `cuda:N`.
        file: the graph of a bundle.
        batch_size: pictures in a batch, for a checkpoint.
        confidence: 0..1; boxes below it are ignored.
        iou: threshold of NMS, 0..1.
        max_detections: most boxes in a picture.
        multi_label: for a checkpoint: a box counts for every class that passes, not only for the best.
        skip_bad: leave out unreadable pictures and defective labels; otherwise these are errors.
        polygons: use the box around each polygon of the labels.
        plots: folder for curves, confusion matrix and pictures; None for none.
    """

    data: Path
    model: Path
    split: str = "val"
    side: int = 640
    device: str = "cpu"
    file: str = MODEL
    batch_size: int = 16
    confidence: float = VAL_CONFIDENCE
    iou: float = VAL_IOU
    max_detections: int = VAL_DETECTIONS
    multi_label: bool = True
    skip_bad: bool = False
    polygons: bool = False
    plots: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The result of a measurement.

    Attributes:
        result: metrics and timings.
        confusion: confusion matrix, of detections above confidence 0.25.
        input_wh: network input (width, height), pixels.
        runtime: what ran the model, for people.
        written: files of the plots and pictures.
    """

    result: SplitResult
    confusion: ConfusionMatrix
    input_wh: tuple[int, int]
    runtime: str
    written: Sequence[Path]


@dataclass(frozen=True, slots=True)
class _Opened:
    predict: Predictor
    input_wh: tuple[int, int]
    runtime: str


class _Renumbered:
    """Replaces a model's class ids by those of the data set; `predict` reports no other classes."""

    def __init__(self, predict: Predictor, table: Ints) -> None:
        self._predict = predict
        self._table = table

    def __call__(self, pictures: Sequence[Pixels]) -> list[Prediction]:
        return [
            Prediction(
                Detections(each.detections.xyxy, each.detections.confidence, self._table[each.detections.class_id]),
                each.timings,
            )
            for each in self._predict(pictures)
        ]


def measure(settings: MeasureSettings, *, progress: bool = False) -> Measured:
    """Evaluate a model on a split.

    Raises:
        UsageError: an option is out of range.
        DataError, BundleMismatch: the data set or model is defective, or the model lacks a class of the data set.
        EdgedError: the plots cannot be written.
    """
    _check(settings)
    spec = read_spec(settings.data)
    for defect in spec.defects:
        logger.warning("%s", defect)
    samples, _ = load_split(spec, settings.split, skip_bad=settings.skip_bad, polygons=settings.polygons)
    confusion = ConfusionMatrix(spec.names)
    sheets = Sheets(spec.names, settings.plots) if settings.plots else None

    def observe(sample: Sample, pixels: Pixels, prediction: Prediction, xyxy: Floats, class_id: Ints) -> None:
        confusion.add(prediction.detections, true_xyxy=xyxy, true_class=class_id)
        if sheets is not None:
            sheets.add(sample, pixels, prediction, xyxy, class_id)

    with _opened(settings, spec.names) as model:
        result = evaluate(
            model.predict, samples, spec.names, batch_size=settings.batch_size, progress=progress, observe=observe
        )
    written: list[Path] = []
    if sheets is not None and settings.plots is not None:
        sheets.flush()
        written = [*sheets.written, *_plots(result, confusion, samples, settings.plots)]
    return Measured(result, confusion, model.input_wh, model.runtime, written)


def _check(settings: MeasureSettings) -> None:
    if not (0 <= settings.confidence < 1 and 0 < settings.iou <= 1):
        raise UsageError(f"--confidence must be in 0..1 and --iou above 0, got {settings.confidence}, {settings.iou}")
    if settings.batch_size < 1 or settings.max_detections < 1:
        raise UsageError("--batch-size and --max-detections must be at least 1")
    if settings.side < 32 or settings.side % 32:  # noqa: PLR2004  # the coarsest stride
        raise UsageError(f"--size must be a multiple of 32, got {settings.side}")


@contextmanager
def _opened(settings: MeasureSettings, names: Sequence[str]) -> Iterator[_Opened]:
    if settings.model.is_dir():
        with _opened_bundle(settings, names) as opened:
            yield opened
    elif settings.model.suffix == ".pt":
        yield _opened_checkpoint(settings, names)
    else:
        raise BundleMismatch(
            f"{settings.model} is neither a .pt file nor a bundle", remedy="see what there is: edged-provision list"
        )


@contextmanager
def _opened_bundle(settings: MeasureSettings, names: Sequence[str]) -> Iterator[_Opened]:
    bundle = Bundle.open(settings.model)
    manifest = bundle.manifest
    if settings.confidence < manifest.min_confidence:
        raise BundleMismatch(
            f"{settings.model} reports nothing below confidence {manifest.min_confidence}, asked for "
            f"{settings.confidence}",
            remedy=f"use --confidence {manifest.min_confidence}",
        )
    table, wanted = _class_table(manifest.classes, names, where=str(settings.model))
    thresholds = Thresholds(settings.confidence, settings.iou, settings.max_detections, wanted)
    with closing(CpuDetector(bundle, thresholds=thresholds, file=settings.file)) as detector:
        runtime = f"{settings.file} in the daemon's CPU detector"
        yield _Opened(_Renumbered(BundlePredictor(detector), table), manifest.input_wh, runtime)


def _opened_checkpoint(settings: MeasureSettings, names: Sequence[str]) -> _Opened:
    # Only a checkpoint needs torch: a box without it measures bundles.
    import torch  # noqa: PLC0415

    from provisioning.evaluation.torch_predictor import TorchPredictor  # noqa: PLC0415
    from provisioning.model.checkpoint import read_checkpoint  # noqa: PLC0415
    from provisioning.model.torch_checkpoint import network_of  # noqa: PLC0415

    checkpoint = read_checkpoint(settings.model)
    table, wanted = _class_table(checkpoint.names, names, where=str(settings.model))
    device = torch.device(settings.device)
    predictor = TorchPredictor(
        network_of(checkpoint).fused().to(device),
        side=settings.side,
        device=device,
        confidence=settings.confidence,
        iou=settings.iou,
        max_detections=settings.max_detections,
        class_ids=wanted,
        multi_label=settings.multi_label and len(checkpoint.names) > 1,
    )
    return _Opened(_Renumbered(predictor, table), (settings.side,) * 2, f"torch {torch.__version__} on {device}")


def _class_table(known: Sequence[str], names: Sequence[str], *, where: str) -> tuple[Ints, frozenset[int]]:
    """The data set's class id (or -1) for each of the model, and the model's ids that count (empty: all of them)."""
    missing = [name for name in names if name not in known]
    if missing:
        raise DataError(
            f"{where} does not know the data set's classes {', '.join(missing[:10])} (it knows "
            f"{', '.join(known[:10])}{', ...' if len(known) > 10 else ''})",  # noqa: PLR2004  # fits a line
            remedy="correct the names in the data-set YAML, or choose another model",
        )
    table = np.array([names.index(name) if name in names else -1 for name in known], np.int32)
    counted = np.flatnonzero(table >= 0)
    return table, frozenset(counted.tolist()) if len(counted) < len(known) else frozenset()


def _plots(result: SplitResult, confusion: ConfusionMatrix, samples: Sequence[Sample], folder: Path) -> Iterator[Path]:
    # matplotlib takes a second to load: only when plots are wanted
    from provisioning.evaluation.plots import write_confusion, write_curves, write_label_distribution  # noqa: PLC0415

    yield from write_curves(result.evaluation, folder)
    yield write_confusion(confusion, folder)
    yield write_label_distribution(samples, result.evaluation.names, folder)
