"""edged-provision verify: compare a bundle with its float32 model."""

from __future__ import annotations

import argparse
from pathlib import Path

from provisioning.commands.common import (
    active_line,
    add_json_argument,
    add_store_argument,
    opened_to_change,
    say,
    say_json,
)

NAME = "verify"
HELP = "compare a bundle's INT8 graph or engine with float32"
DESCRIPTION = """\
Run the INT8 graph or the engine, and the float32 model, over frames that calibration did not use. The report is added
to the bundle.

  edged-provision verify street --frames frames --activate
  edged-provision verify street --frames frames --data yard.yaml --max-fall 0.01

It passes when F1 against the float32 boxes (IoU 0.5) reaches --min-f1 over at least --min-boxes boxes, or with labelled
pictures (--data) when mAP50-95 falls by no more than --max-fall. Below that it ends with 65 and activates nothing.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("name", help="of the bundle")
    parser.add_argument("--frames", type=Path, required=True, metavar="DIR", help="made by `edged-provision sample`")
    parser.add_argument("--data", type=Path, metavar="DATA.yaml", help="labelled pictures; their `val` decides")
    parser.add_argument("--min-f1", type=float, default=0.90, help="(default: %(default)s)")
    parser.add_argument("--min-boxes", type=int, default=50, help="(default: %(default)s)")
    parser.add_argument("--max-fall", type=float, default=0.010, help="of mAP50-95 (default: %(default)s)")
    parser.add_argument("--activate", action="store_true", help="make it the bundle that the daemon runs, if it passes")
    parser.add_argument("--out", type=Path, metavar="DIR", help="copy the report there, too")
    parser.add_argument("--cpu", action="store_true", help="the INT8 graph for the CPU, although there is an engine")
    parser.add_argument("--device", default="auto", help="of an engine: auto, an index, or a UUID (default: auto)")
    parser.add_argument("--threads", type=int, default=0, help="cores to use (default: all)")
    add_store_argument(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Verify, and activate if asked. Returns 0; a model that does not pass raises DataError."""
    from provisioning.store import Store
    from provisioning.verify.checked import verified
    from provisioning.verify.gate import Gate

    store = Store(args.store)
    gate = Gate(max_fall=args.max_fall, min_f1=args.min_f1, min_boxes=args.min_boxes)
    bundle = opened_to_change(store, args.name)
    verdict = verified(
        store,
        bundle,
        args.frames,
        gate=gate,
        labelled=args.data,
        out=args.out,
        threads=args.threads,
        device=None if args.cpu else args.device,
    )
    active = store.activate(args.name) if args.activate else None
    if args.json:
        say_json({"passed": verdict.passed, "reason": verdict.reason, "active": active is not None})
        return 0
    say(f"passed: {verdict.reason}")
    say(f"report: {store.root / args.name / 'report.md'}")
    if active is not None:
        say(active_line(active))
    return 0
