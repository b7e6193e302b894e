"""edged-provision build: make a TensorRT engine, for this GPU or, with TensorRT for RTX, for others."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edged.core.errors import UsageError
from edged.core.paths import STATE_DIR
from provisioning.commands.common import active_line, add_store_argument, human_bytes, opened_to_change, say

NAME = "build"
HELP = "build a TensorRT engine of a bundle, for this device or, by TensorRT for RTX, for others"
DESCRIPTION = """\
Build a TensorRT engine (8.5 to 11) from a bundle of the store and add it. An engine runs only on the kind of GPU and
with the TensorRT that built it: run this on the device itself, with the daemon stopped where memory is short.

  edged-provision build street --precision fp16 --frames frames --activate
  edged-provision build street --precision int8 --frames frames --activate

TensorRT for RTX (pip install 'edged[rtx]') builds in seconds, on any machine, with or without a GPU: for the card that
is here, for named compute capabilities, or for all that it knows. A bundle may hold engines of both; the daemon takes
the one that fits, and of several the one built last.

  edged-provision build street --tensorrt rtx --gpus all
  edged-provision build street --tensorrt rtx --gpus 8.6,8.9

With --frames the engine is verified against float32, which it must pass before it may become active. The build runs in
a process of its own; minutes on a desktop, up to an hour on a small device. A timing cache makes the next one faster.
"""


def gpu_names(text: str) -> tuple[str, ...]:
    """Parse `this`, `all`, or `8.6,8.9`; an argparse type."""
    from provisioning.build.maker import GPU_NAME

    names = tuple(name.strip() for name in text.split(","))
    if not all(GPU_NAME.fullmatch(name) for name in names):
        raise argparse.ArgumentTypeError(f"expected this, all, or compute capabilities such as 8.6,8.9, got {text!r}")
    return names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("name", help="of the bundle")
    parser.add_argument("--precision", choices=("fp32", "fp16", "int8"), help="(default: the bundle's)")
    parser.add_argument("--decode", choices=("auto", "plugin", "kernel"), default="auto", help="(default: auto)")
    parser.add_argument(
        "--tensorrt",
        choices=("auto", "tensorrt", "rtx"),
        default="auto",
        help="what builds: TensorRT, TensorRT for RTX, or the first that is installed and works (default: auto)",
    )
    parser.add_argument(
        "--gpus",
        type=gpu_names,
        default=(),
        metavar="SM,...",
        help="TensorRT for RTX: compute capabilities such as 8.6,8.9, this, or all (default: this GPU's, else all)",
    )
    parser.add_argument("--batch", type=int, nargs=3, default=(1, 1, 4), metavar=("MIN", "OPT", "MAX"))
    parser.add_argument("--workspace-mb", type=int, default=1024, help="device memory for the build (default: 1024)")
    parser.add_argument("--device", default="auto", help="auto, an index, or the UUID of a GPU or MIG instance")
    parser.add_argument("--frames", type=Path, metavar="DIR", help="verify on these before it may become active")
    parser.add_argument("--activate", action="store_true", help="make it the bundle that the daemon runs")
    parser.add_argument("--work", type=Path, default=STATE_DIR / "provision", metavar="DIR", help="for timing caches")
    add_store_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Build the engine, verify it if frames are given, and activate it if asked. Returns 0."""
    from edged.gpu.fit import built_for
    from provisioning.build.bundle_engine import add_engine
    from provisioning.build.find import find_maker
    from provisioning.build.maker import warnings_of
    from provisioning.store import Store
    from provisioning.verify.checked import verified

    _require_sense(args)
    store = Store(args.store)
    bundle = opened_to_change(store, args.name)
    maker = find_maker(tensorrt=args.tensorrt, device=args.device, decode=args.decode, gpus=args.gpus, work=args.work)
    precision = args.precision or bundle.manifest.precision
    for warning in warnings_of(maker, precision):
        sys.stderr.write(f"edged-provision: warning: {warning}\n")
    if args.frames is not None and not maker.runs_here:
        raise UsageError(
            "--frames verifies the engine, which no GPU here runs",
            remedy=f"leave it out; then, on one that does: edged-provision verify {args.name} --frames DIR --activate",
        )
    built = add_engine(
        store,
        bundle,
        maker,
        precision=precision,
        batch=tuple(args.batch),
        workspace_mb=args.workspace_mb,
    )
    engine = built.manifest.engines[0]
    size = human_bytes(built.manifest.files[engine.file].bytes)
    say(f"{args.name}: {engine.precision} engine of {size}, decode by {engine.decode}, built for {built_for(engine)}")
    if args.frames is not None:
        say(verified(store, built, args.frames, device=args.device).reason)
    if args.activate:
        say(active_line(store.activate(args.name)))
    return 0


def _require_sense(args: argparse.Namespace) -> None:
    from provisioning.build.maker import MOST_BATCH, WORKSPACE_MB

    smallest, optimal, largest = args.batch
    if not 1 == smallest <= optimal <= largest <= MOST_BATCH:
        raise UsageError(
            f"--batch must be three ascending numbers from 1 to {MOST_BATCH}, the first 1 as a camera may be alone; "
            f"got {smallest} {optimal} {largest}"
        )
    least_mb, most_mb = WORKSPACE_MB
    if not least_mb <= args.workspace_mb <= most_mb:
        raise UsageError(f"--workspace-mb must be {least_mb} to {most_mb}, got {args.workspace_mb}")
    if args.activate and args.frames is None:
        raise UsageError("--activate needs --frames DIR: an engine is verified before it runs")
