"""Options of the commands that read a model file."""

from __future__ import annotations

import argparse
from pathlib import Path

from provisioning.commands.common import anchor_numbers, size_wh


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
        "--names", type=Path, metavar="FILE", help="ONNX without metadata: class names, one a line, or a data-set YAML"
    )
    parser.add_argument(
        "--anchors",
        type=anchor_numbers,
        default=(),
        metavar="W,H,...",
        help="ONNX without decode: the 18 numbers of its yaml file, pixels, smallest stride first",
    )
