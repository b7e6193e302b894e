"""Runs `edged-provision train`: joins the other processes, prepares the training, trains and says the result."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from edged.core.errors import UsageError
from provisioning.command_line import command_line
from provisioning.training.distributed import World, joined_world
from provisioning.training.loop import Trainer
from provisioning.training.memory import translated_out_of_memory
from provisioning.training.settings import BEST, LAST, RESULTS, TrainSettings
from provisioning.training.setup import prepare

logger = logging.getLogger(__name__)


def launch(settings: TrainSettings) -> list[str]:
    """Train. A `batch_size` of 0 is replaced by the largest that fits into memory.

    Returns:
        Lines for the user; none in processes other than the leading one.

    Raises:
        UsageError: the settings contradict each other, or the device does not exist.
        DataError: the data set or a checkpoint is defective.
        Interrupted: SIGINT or SIGTERM came; a checkpoint is written.
        EdgedError: the loss diverged, memory ran out, or a file cannot be written.
    """
    with joined_world(settings.device) as world:
        logging.basicConfig(level=logging.INFO if world.leads else logging.ERROR, format="%(message)s")
        settings = replace(settings, device=_device(settings.device, world))
        with _tiny_numbers_as_zero():
            logger.info("data set: %s", settings.spec.file)
            for defect in settings.spec.defects:
                logger.warning("%s", defect)
            with translated_out_of_memory(settings.batch_size, processes=world.size):
                run = prepare(settings, world)
            with translated_out_of_memory(run.settings.batch_size, processes=world.size):
                progress = Trainer(run, world).train()
        if not world.leads:
            return []
        output = settings.output
        following = ("import", str(output / BEST), "--name", output.name, "--size", str(settings.side))
        best = f"0.1 mAP50 + 0.9 mAP50-95 = {progress.best:.4f} in epoch {progress.best_epoch + 1}"
        return [
            f"{progress.epoch} epochs; best: {best}",
            f"written: {output / BEST}, {output / LAST}, {output / RESULTS}",
            f"next: {command_line(*following)}",
        ]


@contextmanager
def _tiny_numbers_as_zero() -> Iterator[None]:
    """Treat denormal numbers as 0 inside the block: a CPU computes with them about a hundred times slower."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _device(name: str, world: World) -> str:
    """The device of this process: `cpu` or `cuda:N`.

    Raises:
        UsageError: there is no such device.
    """
    try:
        device = torch.device(name)
    except RuntimeError as exc:
        raise UsageError(f"--device must be cpu, cuda or cuda:N, got {name!r}") from exc
    if device.type == "cpu":
        return "cpu"
    if device.type != "cuda" or not torch.cuda.is_available():
        raise UsageError(f"torch {torch.__version__} finds no {device.type} here", remedy="use --device cpu")
    index = world.local_rank if device.index is None else device.index
    if index >= torch.cuda.device_count():
        raise UsageError(f"there is no GPU {index}: torch finds {torch.cuda.device_count()}")
    torch.cuda.set_device(index)
    return f"cuda:{index}"
