"""edged-provision export: weights in, an ONNX file out, for other tools."""

from __future__ import annotations

import argparse
from pathlib import Path

from edged.core.errors import UsageError
from edged.store.files import atomic_writer
from provisioning.commands.common import human_bytes, say
from provisioning.commands.model_options import add_model_arguments

NAME = "export"
HELP = "write weights as an ONNX file"
DESCRIPTION = """\
Write weights as ONNX: `images` (B, 3, H, W) in, three sigmoided heads `p3 p4 p5` out, without the decode.

  edged-provision export best.pt --size 640x384 --out best.onnx
  edged-provision export best.pt --batch 4 --out best-b4.onnx
  edged-provision export with-decode.onnx --out heads.onnx

`import` does this too and keeps the result as a bundle, which is what the daemon runs.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_model_arguments(parser)
    parser.add_argument("--batch", type=int, metavar="N", help="a fixed batch (default: free)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the .onnx file to write")


def run(args: argparse.Namespace) -> int:
    """Write the ONNX file. Returns 0."""
    if args.batch is not None and args.batch < 1:
        raise UsageError(f"--batch must be at least 1, got {args.batch}")
    # torch and onnx take seconds to load: only when there is work
    from provisioning.export import with_batch
    from provisioning.families.recognised import Hints
    from provisioning.importing import export_model, read_names

    content = export_model(
        args.weights,
        name="export",  # required for a bundle, but none is made here
        input_wh=args.size,
        names=read_names(args.names) if args.names else (),
        anchors=args.anchors,
        hints=Hints(args.pixels, args.image),
    ).onnx
    if args.batch is not None:
        content = with_batch(content, args.batch)
    with atomic_writer(args.out) as file:
        file.write(content)
    say(f"{args.out}: {human_bytes(len(content))}")
    return 0
