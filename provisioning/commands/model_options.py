"""Options of the commands that read a model file."""

from __future__ import annotations

import argparse
from pathlib import Path

from provisioning.commands.common import anchor_numbers, size_wh
from provisioning.families.recognised import PIXEL_NAMES


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `WEIGHTS --size --names --anchors`."""
    parser.add_argument("weights", type=Path, metavar="WEIGHTS", help="a .pt or .onnx file")
    parser.add_argument(
        "--size",
        type=size_wh,
        metavar="640|640x384",
        help="network input, width x height, multiples of 32 (default: 640, or what the ONNX file was exported with)",
    )
    parser.add_argument(
        "--names",
        type=Path,
        metavar="FILE",
        help="ONNX without metadata: class names, one a line, or a data-set YAML; coco for the 80 of COCO",
    )
    parser.add_argument(
        "--pixels",
        choices=PIXEL_NAMES,
        default="",
        help="ONNX: colours and values that the network is trained on, where the family's are not right",
    )
    parser.add_argument(
        "--image",
        type=Path,
        metavar="FILE",
        help="ONNX: a picture to show that original and bundle see the same (default: a rendered street)",
    )
    parser.add_argument(
        "--anchors",
        type=anchor_numbers,
        default=(),
        metavar="W,H,...",
        help="ONNX without decode: the 18 numbers of its yaml file, pixels, smallest stride first",
    )
