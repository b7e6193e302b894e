"""What a training run is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from provisioning.data.spec import DataSpec
from provisioning.model.blocks import Activation
from provisioning.model.network import Release, Size
from provisioning.training.hyper import Hyper

LAST, BEST, RESULTS, EVENTS = "last.pt", "best.pt", "results.csv", "events"


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """One run.

    Attributes:
        spec: the data set; its splits train and val are used.
        output: folder of the run's checkpoints and results.
        size: n, s, m, l or x.
        weights: checkpoint to start from; None for fresh weights.
        epochs: planned.
        batch_size: pictures a batch, of all processes together; 0 stands for what fits.
        side: of the square input, pixels, a multiple of 32.
        workers: threads that make batches.
        device: `cpu`, `cuda` or `cuda:N`.
        seed: of everything random.
        hyper: the recipe.
        release: of the architecture, when `weights` is None.
        activation: the same.
        patience: epochs without a better model after which the run ends; 0 for never.
        skip_bad: leave unreadable pictures and defective labels out instead of refusing the data set.
        polygons: take the boxes around polygons instead of calling such labels defective.
        cache_bytes: memory for decoded pictures.
        save_every_s: a checkpoint is written within an epoch, too, when the last is older than this.
        validate_every: epochs between evaluations; the last epoch is always evaluated.
        anchors: choose anchors for the data set when the present ones fit it poorly.
        resume: go on from the `last.pt` in `output`.
        minutes: end after this time, the rates falling with the clock where it is ahead of the epochs; 0 for no limit.
        wandb: project of Weights & Biases to report to; empty for none.
        log_every: batches between lines of the log; 0 for none.
    """

    spec: DataSpec
    output: Path
    size: Size = "n"
    weights: Path | None = None
    epochs: int = 100
    batch_size: int = 16
    side: int = 640
    workers: int = 2
    device: str = "cpu"
    seed: int = 0
    hyper: Hyper = field(default_factory=Hyper)
    release: Release = "6"
    activation: Activation = "silu"
    patience: int = 100
    skip_bad: bool = False
    polygons: bool = False
    cache_bytes: int = 2 << 30
    save_every_s: float = 600.0
    validate_every: int = 1
    anchors: bool = True
    resume: bool = False
    minutes: float = 0.0
    wandb: str = ""
    log_every: int = 0

    def identity(self) -> dict[str, object]:
        """What must be the same for a resumed run to repeat the interrupted one; plain data."""
        return {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "side": self.side,
            "seed": self.seed,
            "classes": list(self.spec.names),
            "hyper": self.hyper.to_plain(),
        }
