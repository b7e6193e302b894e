"""Prepares a training run: data set, model, optimiser and the state to resume."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch

from edged.core.bundle import Bundle
from edged.core.errors import DataError, UsageError
from provisioning.data.batches import BatchMaker, Share
from provisioning.data.cache import PictureCache
from provisioning.data.samples import Sample, load_split
from provisioning.model.checkpoint import Checkpoint, read_checkpoint
from provisioning.model.network import Yolov5, build
from provisioning.model.torch_checkpoint import as_tensors, network_of
from provisioning.training.anchors import GOOD_RECALL, box_sizes, by_head, fit_anchors, recall
from provisioning.training.distributed import World, synchronise_normalisation
from provisioning.training.loss import DetectionLoss
from provisioning.training.memory import choose_batch_size
from provisioning.training.optimizer import MovingAverage, Schedule, make_optimizer
from provisioning.training.settings import LAST, TrainSettings
from provisioning.training.teacher import Teacher
from provisioning.training.transfer import transfer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A training that is ready to start.

    Attributes:
        settings: as given, with the real batch size.
        model: on its device, in training mode.
        average: moving average of its weights.
        optimizer, schedule, loss, batches: of the training.
        val: samples to evaluate on.
        resumed: the trainer's state from `last.pt`; empty for a new run.
    """

    settings: TrainSettings
    model: Yolov5
    average: MovingAverage
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    loss: DetectionLoss
    batches: BatchMaker
    val: Sequence[Sample]
    resumed: Mapping[str, Any]


def prepare(settings: TrainSettings, world: World) -> Run:
    """Read the data set, build the model, and read the state of an interrupted run if `settings.resume`.

    Raises:
        UsageError: the settings contradict each other or the interrupted run, the teacher knows none of the classes, or
            the GPU has too little memory.
        BundleMismatch, DataError: the data set, a checkpoint or the teacher is defective.
    """
    _check(settings, world)
    torch.manual_seed(settings.seed)
    train, val = (
        load_split(settings.spec, split, skip_bad=settings.skip_bad, polygons=settings.polygons)[0]
        for split in ("train", "val")
    )
    device = torch.device(settings.device)
    checkpoint = read_checkpoint(settings.output / LAST, training=True) if settings.resume else None
    settings = replace(settings, batch_size=settings.batch_size or _recorded_batch(checkpoint))
    resumed = _resumed_state(checkpoint, settings)
    pictures = PictureCache(train, side=settings.side, limit_bytes=settings.cache_bytes)
    model = (network_of(checkpoint) if checkpoint else _start(settings, pictures)).train().to(device)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, unused-ignore]
    if not settings.batch_size:
        settings = replace(settings, batch_size=_fitting_batch(model, settings, world))
        logger.info("batch size %d", settings.batch_size)
    if not settings.local_normalisation:
        synchronise_normalisation(model, world)
    batches = BatchMaker(
        pictures,
        settings.hyper.augment,
        batch_size=settings.batch_size // world.size,
        side=settings.side,
        seed=settings.seed,
        workers=settings.workers,
        share=Share(world.rank, world.size),
        relabel=Teacher(Bundle.open(settings.teacher), settings.spec.names) if settings.teacher else None,
    )
    hyper = settings.hyper
    return Run(
        settings=settings,
        model=model,
        average=MovingAverage(model, hyper.ema, updates=int(resumed.get("updates", 0))),
        optimizer=make_optimizer(model, hyper.optimizer, batch_size=settings.batch_size),
        schedule=Schedule(hyper.schedule, hyper.optimizer, settings.epochs, batches.steps, settings.batch_size),
        loss=DetectionLoss(model.anchors, model.strides, classes=model.classes, gains=hyper.loss),
        batches=batches,
        val=val,
        resumed=resumed,
    )


def _check(settings: TrainSettings, world: World) -> None:
    if settings.batch_size % world.size:
        raise UsageError(f"a batch of {settings.batch_size} cannot be shared by {world.size} processes")
    if settings.side % 32 or settings.side < 32:  # noqa: PLR2004  # the coarsest stride
        raise UsageError(f"--size must be a multiple of 32, got {settings.side}")
    if settings.output.joinpath(LAST).exists() != settings.resume:
        if settings.resume:
            raise UsageError(f"{settings.output / LAST} does not exist: nothing to resume")
        raise UsageError(f"{settings.output} holds a run already", remedy="resume it with --resume, or choose --name")


def _recorded_batch(checkpoint: Checkpoint | None) -> int:
    """The batch size of the interrupted run, which it keeps even if another would fit now; 0 if there is none."""
    identity = checkpoint.training.get("identity") if checkpoint else None
    size = identity.get("batch_size") if isinstance(identity, dict) else None
    return size if isinstance(size, int) else 0


def _fitting_batch(model: Yolov5, settings: TrainSettings, world: World) -> int:
    """The batch size that fits every process. A copy of the model is used, as measuring changes its statistics."""
    fits = choose_batch_size(deepcopy(model), side=settings.side, device=torch.device(settings.device))
    return round(world.least(fits)) * world.size


def _resumed_state(checkpoint: Checkpoint | None, settings: TrainSettings) -> Mapping[str, Any]:
    if checkpoint is None:
        return {}
    before, now = checkpoint.training.get("identity"), settings.identity()
    if not isinstance(before, dict):
        raise DataError(f"{settings.output / LAST} holds no training state", remedy="start anew with --weights")
    changed = [f"{key}: {before.get(key)!r}, now {now[key]!r}" for key in now if before.get(key) != now[key]]
    if changed:
        raise UsageError(
            f"the interrupted run had other settings ({'; '.join(changed)[:400]})",
            remedy="resume with the same ones, or start anew with --weights",
        )
    return cast("Mapping[str, Any]", as_tensors(checkpoint.training))


def _start(settings: TrainSettings, pictures: PictureCache) -> Yolov5:
    """The model at the start: with random weights, or those of a checkpoint, and anchors for the data set."""
    if settings.weights is None:
        model = build(
            settings.size, classes=len(settings.spec.names), release=settings.release, activation=settings.activation
        )
    else:
        model, moved = transfer(read_checkpoint(settings.weights), names=settings.spec.names)
        logger.info("%s: %s", settings.weights, moved)
    if settings.anchors:
        _improve_anchors(model, pictures, settings)
    return model


def _improve_anchors(model: Yolov5, pictures: PictureCache, settings: TrainSettings) -> None:
    ratio = settings.hyper.loss.anchor_ratio
    sizes = box_sizes(pictures)
    present = model.anchors.numpy().reshape(-1, 2).astype(np.float64)
    before = recall(sizes, present, ratio=ratio)
    logger.info("anchors can learn %.1f %% of %d boxes", before * 100, len(sizes))
    if before >= GOOD_RECALL or len(sizes) < len(present):
        return
    found = fit_anchors(sizes, count=len(present), ratio=ratio, seed=settings.seed)
    after = recall(sizes, found, ratio=ratio)
    if after > before:
        logger.info("new anchors chosen: they can learn %.1f %%", after * 100)
        with torch.no_grad():
            model.anchors.copy_(torch.tensor(by_head(found, len(model.strides))))
