"""edged-provision sample: frames for calibration and verification."""

from __future__ import annotations

import argparse
from pathlib import Path

from edged.commands.trust import add_trust_arguments, trust_of
from provisioning.commands.common import add_json_argument, say, say_json

NAME = "sample"
HELP = "choose frames for calibration from videos, folders or cameras"
DESCRIPTION = """\
Choose frames, spread over the sources, without near-duplicates, and keep them as PNG with a list of their hashes.

  edged-provision sample yard.mp4 night.mp4 --out frames
  edged-provision sample rtsp://user:password@camera/stream --every 30 --count 500 --out frames

Take them from the cameras that the model will watch, over day, night and weather: 200 frames suffice for a fixed scene,
500 to 1000 calibrate better. Some are kept for verification: calibration never uses them.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="a video, a folder of pictures, a camera or stream"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--count", type=int, default=200, help="frames for calibration (default: %(default)s)")
    parser.add_argument("--verification", type=int, default=50, help="frames kept apart (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the random choice (default: %(default)s)")
    parser.add_argument("--every", type=float, default=2.0, metavar="S", help="seconds between frames of a live stream")
    add_trust_arguments(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Choose the frames and write them. Returns 0."""
    from provisioning.frames.sample import sample

    taken = sample(
        args.sources,
        args.out,
        count=args.count,
        verification=args.verification,
        seed=args.seed,
        every_s=args.every,
        trust=trust_of(args),
    )
    counts = {"calibration": len(taken.of("calibration")), "verification": len(taken.of("verification"))}
    if args.json:
        say_json({"folder": str(taken.folder), **counts, "skipped": taken.skipped})
        return 0
    skipped = ", ".join(f"{count} {reason}" for reason, count in taken.skipped.items())
    say(f"{taken.folder}: {counts['calibration']} frames for calibration, {counts['verification']} for verification")
    if skipped:
        say(f"left out: {skipped}")
    return 0
