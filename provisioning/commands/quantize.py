"""edged-provision quantize: add INT8 graphs to a bundle."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edged.core.errors import UsageError
from provisioning.command_line import command_line
from provisioning.commands.common import (
    add_json_argument,
    add_store_argument,
    opened_to_change,
    say,
    say_json,
)

NAME = "quantize"
HELP = "add an INT8 graph to a bundle, calibrated on sampled frames"
DESCRIPTION = """\
Calibrate on frames and add the INT8 graph (explicit Q/DQ) to a bundle of the store.

  edged-provision sample yard.mp4 --out frames
  edged-provision quantize street --frames frames
  edged-provision verify street --frames frames --activate

Methods: `percentile` (the default; best here), `minmax` (half the time), `entropy` (TensorRT's old default, which costs
YOLOv5 accuracy). The calibration is reused while weights, frames and preprocessing are the same.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("name", help="of the bundle")
    parser.add_argument("--frames", type=Path, required=True, metavar="DIR", help="made by `edged-provision sample`")
    parser.add_argument("--method", choices=("percentile", "minmax", "entropy"), default="percentile")
    parser.add_argument("--threads", type=int, default=0, help="cores to use (default: all)")
    add_store_argument(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Calibrate and add the INT8 graphs to the bundle. Returns 0."""
    import tempfile

    import onnx

    from edged.core.bundle import MODEL
    from provisioning.frames.frameset import FrameSet
    from provisioning.quantize.int8 import CALIBRATION, quantize
    from provisioning.quantize.refusal import require_quantisable
    from provisioning.revision import revise
    from provisioning.store import Store

    if args.threads < 0:
        raise UsageError(f"--threads must be 0 or more, got {args.threads}")
    store = Store(args.store)
    bundle = opened_to_change(store, args.name)
    require_quantisable(bundle.manifest)
    frames = FrameSet.read(args.frames)
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch) / CALIBRATION
        if CALIBRATION in bundle.manifest.files:
            cache.write_bytes(bundle.read(CALIBRATION))
        model = onnx.load_from_string(bundle.read(MODEL))
        made = quantize(model, frames, method=args.method, cache=cache, threads=args.threads)
        files = made.files(cache)
    revised = revise(store, bundle, files, precision="int8", calibration=made.facts(), report={})
    if made.warning:
        sys.stderr.write(f"edged-provision: warning: {made.warning}\n")
    if args.json:
        say_json({"name": args.name, "path": str(revised.directory), "reused": made.reused, **made.facts()})
        return 0
    say(
        f"{args.name}: INT8 by {made.method} over {made.frames} frames"
        + (", calibration reused" if made.reused else "")
    )
    verify = command_line("verify", args.name, "--frames", args.frames, "--activate", store=args.store)
    say(f"not active; verify first: {verify}")
    return 0
