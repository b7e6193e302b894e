"""The options of a training, for the command line and for `train_arguments` of a recipe."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edged.core.errors import UsageError

if TYPE_CHECKING:
    from provisioning.training.settings import TrainSettings

_AUTO = "auto"


def add_train_options(parser: argparse.ArgumentParser) -> None:
    """Add every option of a training to a parser."""
    parser.add_argument("--data", type=Path, metavar="DATA", help="YAML or obj.data, or its folder")
    parser.add_argument("--model", choices=("n", "s", "m", "l", "x"), default="n", help="size, without --weights")
    parser.add_argument("--weights", default="none", metavar="FILE.pt|none", help="start from these (default: none)")
    parser.add_argument("--epochs", type=int, default=100, help="(default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=0.0, help="end within this time if --epochs take longer")
    parser.add_argument("--batch-size", default="16", metavar="N|auto", help="of all processes together (default: 16)")
    parser.add_argument("--size", type=int, default=640, help="input side, a multiple of 32 (default: 640)")
    parser.add_argument("--workers", type=int, default=2, help="threads that prepare pictures (default: 2)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    parser.add_argument("--name", help="of the run")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where runs are kept")
    parser.add_argument("--resume", action="store_true", help="go on with the interrupted run of that name")
    parser.add_argument("--hyper", type=Path, metavar="FILE.toml", help="hyper-parameters other than the defaults")
    parser.add_argument("--show-hyper", action="store_true", help="print the default hyper-parameters and exit")
    parser.add_argument("--seed", type=int, default=0, help="of all random choices")
    parser.add_argument("--patience", type=int, default=100, help="epochs without gain before it ends; 0: never")
    parser.add_argument("--val-every", type=int, default=1, metavar="N", help="epochs between evaluations")
    parser.add_argument("--cache-gb", type=float, default=2.0, help="memory for decoded pictures (default: 2)")
    parser.add_argument("--keep-anchors", action="store_true", help="never choose new anchors for the data set")
    parser.add_argument("--skip-bad", action="store_true", help="leave out unreadable pictures and defective labels")
    parser.add_argument("--polygons", action="store_true", help="take the box around each polygon of the labels")
    parser.add_argument("--teacher", metavar="BUNDLE", help="a detector whose boxes and scores join the labels")
    parser.add_argument(
        "--local-normalisation", action="store_true", help="each of several processes normalises alone: faster on a CPU"
    )
    parser.add_argument("--wandb", metavar="PROJECT", help="report to Weights & Biases, too (needs the package wandb)")
    parser.add_argument("--log-every", type=int, default=0, metavar="N", help="log the loss every N batches")


def train_settings(args: argparse.Namespace) -> TrainSettings:
    """Make the settings from parsed options.

    Raises:
        UsageError: an option is missing or out of range.
        ConfigError: the file of hyper-parameters is not valid.
        DataError: the data set's YAML cannot be read.
    """
    if args.data is None or not args.name:
        raise UsageError("train needs --data and --name")
    _require_sensible(args)
    # torch takes seconds to load: only when there is work
    from provisioning.data.spec import read_spec  # noqa: PLC0415
    from provisioning.training.hyper import read_hyper  # noqa: PLC0415
    from provisioning.training.settings import TrainSettings  # noqa: PLC0415

    return TrainSettings(
        spec=read_spec(args.data),
        output=args.runs / args.name,
        size=args.model,
        weights=None if args.weights == "none" else Path(args.weights),
        epochs=args.epochs,
        batch_size=0 if args.batch_size == _AUTO else int(args.batch_size),
        side=args.size,
        workers=args.workers,
        device=args.device,
        seed=args.seed,
        hyper=read_hyper(args.hyper),
        patience=args.patience,
        skip_bad=args.skip_bad,
        polygons=args.polygons,
        cache_bytes=round(args.cache_gb * 1e9),
        validate_every=args.val_every,
        anchors=not args.keep_anchors,
        resume=args.resume,
        minutes=args.minutes,
        wandb=args.wandb or "",
        log_every=args.log_every,
        teacher=Path(args.teacher) if args.teacher else None,
        local_normalisation=args.local_normalisation,
    )


def _require_sensible(args: argparse.Namespace) -> None:
    if args.batch_size != _AUTO and not (args.batch_size.isdecimal() and int(args.batch_size)):
        raise UsageError(f"--batch-size must be a number above 0 or auto, got {args.batch_size!r}")
    for name, least in (("epochs", 1), ("size", 32), ("workers", 0), ("seed", 0), ("patience", 0), ("val_every", 1)):
        if getattr(args, name) < least:
            raise UsageError(f"--{name.replace('_', '-')} must be at least {least}, got {getattr(args, name)}")
    if args.minutes < 0 or args.cache_gb < 0:
        raise UsageError("--minutes and --cache-gb must be at least 0")
    if "/" in args.name or args.name in {".", ".."}:
        raise UsageError(f"--name must be a plain name, got {args.name!r}", remedy="choose the folder with --runs")
