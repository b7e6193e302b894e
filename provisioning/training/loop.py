"""The training loop: epochs, evaluation, checkpoints. On a CPU, a resumed run gives exactly the same weights."""

from __future__ import annotations

import logging
import math
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from edged.core.errors import DataError, EdgedError
from provisioning.data.batches import Batch
from provisioning.evaluation.run import SplitResult, evaluate
from provisioning.evaluation.torch_predictor import TorchPredictor
from provisioning.model.torch_checkpoint import checkpoint_of, save_checkpoint
from provisioning.training.distributed import World
from provisioning.training.loss import LossSums
from provisioning.training.progress import Progress, Stopwatch, Timing, bar_values
from provisioning.training.reports import Reports
from provisioning.training.results import EpochResult
from provisioning.training.settings import BEST, LAST
from provisioning.training.setup import Run

logger = logging.getLogger(__name__)


def mixed_precision(device: torch.device) -> bool:
    """Whether the network runs in half precision with a scaled loss; it does on a GPU."""
    return device.type == "cuda"


class Interrupted(EdgedError):
    """A signal stopped the training; its checkpoint is written."""

    exit_code = 130


class Trainer:
    """Runs a prepared training to its end.

    Args:
        run: model, data, optimiser and so on, from `prepare`.
        world: the processes that train together.
    """

    def __init__(self, run: Run, world: World) -> None:
        self._run = run
        self._world = world
        self._device = torch.device(run.settings.device)
        self._network: nn.Module = run.model
        if world.size > 1:
            devices = None if self._device.type == "cpu" else [self._device]
            self._network = DistributedDataParallel(run.model, device_ids=devices)
        self._mixed = mixed_precision(self._device)
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=self._mixed)
        self._progress = Progress()
        self._started_s = self._saved_at = time.monotonic()
        self._trained_before_s = 0.0
        self._stop = False
        self._last_epoch = False
        self._pending = False  # there are gradients that no step of the optimiser has used yet
        if run.resumed:
            self._restore(run.resumed)

    def train(self) -> Progress:
        """Train until the epochs, the time limit or the patience end.

        Raises:
            Interrupted: SIGINT or SIGTERM came; the checkpoint is written.
            EdgedError: the loss is not finite, or a file cannot be written.
            DataError: a picture cannot be read.
        """
        settings = self._run.settings
        settings.output.mkdir(parents=True, exist_ok=True)
        reports = Reports(settings, first_epoch=self._progress.epoch) if self._world.leads else None
        with self._signals():
            while self._progress.epoch < settings.epochs and not self._progress.finished:
                line = self._epoch()
                if reports is not None:
                    reports.add(line)
                self._next_epoch(line)
        if reports is not None:
            reports.close()
        return self._progress

    def _epoch(self) -> EpochResult:
        settings, number, stopwatch = self._run.settings, self._progress.epoch, Stopwatch(self._run.batches)
        before = self._progress.pictures  # more than 0 in a resumed epoch
        self._network.train()
        plain = number >= settings.epochs - settings.hyper.schedule.plain_epochs
        batches = self._run.batches.epoch(number, use_mosaic=not plain, first_step=self._progress.step)
        hidden = None if self._world.leads else True
        steps = self._run.batches.steps
        with tqdm(
            total=steps, initial=self._progress.step, desc=f"epoch {number + 1}/{settings.epochs}", disable=hidden
        ) as bar:
            for batch in batches:
                self._step(batch)
                bar.set_postfix(
                    bar_values(self._progress, self._device, stopwatch.read(0).waiting_share), refresh=False
                )
                bar.update()
                self._pause()
                if self._clock() >= 1 and not self._pending:
                    break
        self._last_epoch = number + 1 == settings.epochs or self._clock() >= 1
        return self._line(stopwatch.read(self._progress.pictures - before))

    def _step(self, batch: Batch) -> None:
        """Train one batch; the optimiser makes a step once enough gradients are accumulated."""
        run, progress = self._run, self._progress
        number = progress.epoch * run.batches.steps + progress.step
        run.schedule.apply(run.optimizer, number=number, clock=self._clock())
        due = self._step_is_due(number)
        images, targets = self._on_device(batch)
        with torch.autocast(self._device.type, torch.float16, enabled=self._mixed):
            heads = self._network(images)
        parts = run.loss.combine(self._over_all_ranks(run.loss.head_sums(heads, targets)), side=run.settings.side)
        pictures = len(images) * self._world.size
        loss = parts.sum() * pictures * self._world.size
        torch.autograd.backward([self._scaler.scale(loss)])
        self._pending = not due
        if due:
            self._move()
        shared = self._world.sum(parts).tolist()
        sums = [old + new * pictures for old, new in zip(progress.loss_sums, shared, strict=True)]
        self._refuse_divergence(sums)
        if run.settings.log_every and number % run.settings.log_every == 0:
            logger.info("batch %d: loss %.9g", number, sum(shared))
        self._progress = replace(
            progress,
            step=progress.step + 1,
            loss_sums=cast("tuple[float, float, float]", tuple(sums)),
            pictures=progress.pictures + pictures,
        )

    def _clock(self) -> float:
        """Share of the time limit that has passed (0..1 or more), the same in every process; 0 without a limit."""
        limit_s = self._run.settings.minutes * 60
        return self._world.from_leader(self._trained_s() / limit_s) if limit_s else 0.0

    def _trained_s(self) -> float:
        return self._trained_before_s + time.monotonic() - self._started_s

    def _step_is_due(self, number: int) -> bool:
        """Whether the optimiser makes a step: after each `accumulate`-th batch, and at the end of an epoch.

        So a checkpoint needs no gradients.
        """
        last = self._progress.step + 1 == self._run.batches.steps
        return last or (self._progress.step + 1) % self._run.schedule.accumulate(number) == 0

    def _move(self) -> None:
        run = self._run
        self._scaler.unscale_(run.optimizer)
        nn.utils.clip_grad_norm_(run.model.parameters(), run.settings.hyper.optimizer.clip_norm)
        self._scaler.step(run.optimizer)
        self._scaler.update()
        run.optimizer.zero_grad(set_to_none=True)
        run.average.update(run.model)

    def _over_all_ranks(self, sums: list[LossSums]) -> list[LossSums]:
        """Own sums with the counts of all processes: their gradients then add up to those of the whole batch."""
        if self._world.size == 1:
            return sums
        counts = self._world.sum(torch.stack([torch.stack((part.matches, part.cells)) for part in sums]))
        return [part._replace(matches=count[0], cells=count[1]) for part, count in zip(sums, counts, strict=True)]

    def _on_device(self, batch: Batch) -> tuple[Tensor, Tensor]:
        pixels = torch.from_numpy(batch.pixels).to(self._device, non_blocking=True)
        images = pixels.permute(0, 3, 1, 2).flip(1).float() / 255  # (B, 3, S, S) RGB
        return images.contiguous(memory_format=torch.channels_last), torch.from_numpy(batch.targets).to(self._device)

    def _refuse_divergence(self, sums: list[float]) -> None:
        if not all(math.isfinite(value) for value in sums):
            where = f"epoch {self._progress.epoch + 1}, batch {self._progress.step + 1}"
            raise EdgedError(
                f"the loss is no number any more ({where})",
                remedy="lower rate in the hyper-parameters' [optimizer]; last.pt holds the state before",
            )

    def _line(self, timing: Timing) -> EpochResult:
        progress, settings = self._progress, self._run.settings
        losses = [total / max(1, progress.pictures) for total in progress.loss_sums]
        due = self._last_epoch or (progress.epoch + 1) % settings.validate_every == 0
        measured = self._evaluate() if due and self._world.leads else None
        self._world.wait()
        scores = (math.nan,) * 4
        if measured is not None:
            found = measured.evaluation
            scores = (*found.mean_precision_recall, found.map50, found.map50_95)
        rate = max(float(group["lr"]) for group in self._run.optimizer.param_groups)
        return EpochResult(progress.epoch, losses[0], losses[1], losses[2], *scores, rate, *timing)

    def _evaluate(self) -> SplitResult:
        settings = self._run.settings
        predictor = TorchPredictor(self._run.average.model, side=settings.side, device=self._device)
        return evaluate(predictor, self._run.val, settings.spec.names, progress=True)

    def _next_epoch(self, line: EpochResult) -> None:
        """Record the result, save checkpoints, and decide whether training has finished."""
        progress, settings = self._progress, self._run.settings
        better = line.fitness > progress.best  # false for NaN
        best, best_epoch = (line.fitness, progress.epoch) if better else (progress.best, progress.best_epoch)
        tired = bool(settings.patience) and progress.epoch - best_epoch >= settings.patience
        tired = bool(self._world.from_leader(float(tired)))  # only the leader evaluates
        self._progress = Progress(
            epoch=progress.epoch + 1,
            best=best,
            best_epoch=best_epoch,
            finished=tired or self._last_epoch,
        )
        self._save(LAST)
        if better:
            self._save(BEST, for_resuming=False)
        logger.info(
            "epoch %d: box %.4f obj %.4f cls %.4f, P %.3f R %.3f mAP50 %.3f mAP50-95 %.3f, "
            "%.1f pictures/s, waiting %.1f %%",
            line.epoch + 1,
            *(line.box_loss, line.objectness_loss, line.class_loss),
            *(line.precision, line.recall, line.map50, line.map50_95),
            *(line.pictures_per_s, line.waiting_share * 100),
        )

    def _pause(self) -> None:
        """Between batches: save a checkpoint if one is due; stop if a signal came. Not while gradients are pending."""
        progress = self._progress
        if self._pending:
            return
        if self._world.any(self._stop):
            self._save(LAST)
            raise Interrupted(
                f"stopped in epoch {progress.epoch + 1}; {self._run.settings.output / LAST} is written",
                remedy="go on with the same command and --resume",
            )
        if time.monotonic() - self._saved_at > self._run.settings.save_every_s:
            self._save(LAST)

    def _save(self, name: str, *, for_resuming: bool = True) -> None:
        self._saved_at = time.monotonic()
        self._progress = replace(self._progress, trained_s=self._trained_s())
        if not self._world.leads:
            return
        run = self._run
        training = {
            "progress": self._progress.to_plain(),
            "model": run.model.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "updates": run.average.updates,
            "identity": run.settings.identity(),
        }
        checkpoint = checkpoint_of(
            run.average.model, names=run.settings.spec.names, training=training if for_resuming else None
        )
        save_checkpoint(run.settings.output / name, checkpoint)

    def _restore(self, training: Mapping[str, Any]) -> None:
        try:
            self._run.model.load_state_dict(training["model"])
            self._run.optimizer.load_state_dict(training["optimizer"])
            self._scaler.load_state_dict(training["scaler"])
            self._progress = Progress.from_plain(training["progress"])
            self._trained_before_s = self._progress.trained_s
        except (KeyError, TypeError, ValueError, RuntimeError) as exc:
            raise DataError(f"the training state in {LAST} is incomplete: {exc}") from exc

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Stop after the next step on SIGINT or SIGTERM; a second SIGINT raises KeyboardInterrupt at once."""
        kinds = (signal.SIGINT, signal.SIGTERM)
        before = [signal.getsignal(kind) for kind in kinds]

        def stop(number: int, _frame: FrameType | None) -> None:
            if self._stop and number == signal.SIGINT:
                raise KeyboardInterrupt
            self._stop = True

        for kind in kinds:
            signal.signal(kind, stop)
        try:
            yield
        finally:
            for kind, handler in zip(kinds, before, strict=True):
                signal.signal(kind, handler)
