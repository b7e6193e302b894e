"""edged-provision train: train a detector for your own classes."""

from __future__ import annotations

import argparse

from provisioning.commands.common import say
from provisioning.training.options import add_train_options, train_settings

NAME = "train"
HELP = "train a detector on your own pictures"
DESCRIPTION = """\
Train YOLOv5 on a data set in YOLO format (see `edged-provision dataset --help`).

  edged-provision train --data yard.yaml --weights yolov5n.pt --epochs 50 --size 320 --name yard
  edged-provision train --data yard.yaml --weights none --model n --name scratch
  edged-provision train --data yard.yaml --name yard --epochs 50 --size 320 --weights yolov5n.pt --resume
  edged-provision train --data yard.yaml --name small --size 320 --teacher models/large     a larger model labels, too
  torchrun --nproc-per-node 4 -m provisioning train --data yard.yaml --batch-size 64 --device cuda --name yard

The run's folder holds last.pt and best.pt (tensors and plain data only), results.csv and TensorBoard's events. Ctrl-C
keeps a checkpoint; --resume continues; its losses are those of an uninterrupted run. Then:

  edged-provision val --data yard.yaml --model runs/yard/best.pt --size 320
  edged-provision import runs/yard/best.pt --name yard --size 320

The hyper-parameters, with their meaning and default: --show-hyper.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_train_options(parser)


def run(args: argparse.Namespace) -> int:
    """Train, or print the hyper-parameters. Returns 0."""
    if args.show_hyper:
        from provisioning.training.hyper import DEFAULTS

        say(DEFAULTS.read_text("utf-8").rstrip())
        return 0
    settings = train_settings(args)
    from provisioning.training.launch import launch

    for line in launch(settings):
        say(line)
    return 0
