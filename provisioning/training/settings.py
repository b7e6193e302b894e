"""The settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edged.core.bundle import MANIFEST
from provisioning.data.spec import DataSpec
from provisioning.files import file_sha256
from provisioning.model.description import Release, Size
from provisioning.model.parts import Activation
from provisioning.training.hyper import Hyper

LAST, BEST, RESULTS, EVENTS = "last.pt", "best.pt", "results.csv", "events"


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Settings of a run.

    Attributes:
        spec: the data set; its splits train and val are used.
        output: folder of the run's checkpoints and results.
        size: n, s, m, l or x.
        weights: checkpoint to start from; None for random weights.
        epochs: number of epochs.
        batch_size: pictures in a batch, of all processes together; 0 for the largest that fits.
        side: of the square input, pixels, a multiple of 32.
        workers: threads that make batches; 0 for none.
        device: `cpu`, `cuda` or `cuda:N`.
        seed: of all random choices.
        hyper: the hyper-parameters.
        release: YOLOv5 release of the architecture, if `weights` is None.
        activation: of the convolutions, if `weights` is None.
        patience: epochs without a better model after which the run ends; 0 for never.
        skip_bad: leave out unreadable pictures and defective labels; otherwise these are errors.
        polygons: use the box around each polygon; otherwise polygons are defects.
        cache_bytes: memory for decoded pictures.
        save_every_s: seconds after which a checkpoint is also written within an epoch.
        validate_every: epochs between evaluations; the last epoch is always evaluated.
        anchors: find new anchors if the present ones fit the data set badly.
        resume: continue from `last.pt` in `output`.
        minutes: time limit; the learning rate then falls with the time if that is faster. 0 for no limit.
        wandb: project of Weights & Biases to report to; empty for none.
        log_every: batches between lines of the log; 0 for none.
        teacher: bundle of a detector whose boxes and scores join the labels; None for labels alone.
        local_normalisation: each of several processes normalises its own share of the batch; otherwise all together.
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
    teacher: Path | None = None
    local_normalisation: bool = False

    def identity(self) -> dict[str, object]:
        """The settings that a resumed run must share with the interrupted one; plain data."""
        return {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "side": self.side,
            "seed": self.seed,
            "classes": list(self.spec.names),
            "hyper": self.hyper.to_plain(),
            "local_normalisation": self.local_normalisation,
            "teacher": _manifest_sha256(self.teacher) if self.teacher else None,
        }


def _manifest_sha256(bundle: Path) -> str:
    """What tells a bundle from others: its manifest holds the hashes of its files."""
    return file_sha256(bundle / MANIFEST)
