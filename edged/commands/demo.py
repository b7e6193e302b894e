"""`edged demo`: see it work on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from edged.core.limits import ScoreLimits

NAME = "demo"
HELP = "see it work: own broker, real daemon, a subscriber that prints"
DESCRIPTION = """\
Start an MQTT broker on a free loopback port, run the real daemon against it, subscribe as any client would, and print
a line per message, then a summary.

  edged demo
  edged demo --model models/yolov5n --source street.mp4
  edged demo --model models/yolov5n --source /dev/video0 --frames 100

Or, from a checkout: make demo SOURCE=street.mp4 MODEL=models/yolov5n FRAMES=100
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--source", metavar="SOURCE", help="video, folder, /dev/videoN, URL or test: (default: a rendered street)"
    )
    parser.add_argument(
        "--model",
        type=Path,
        metavar="BUNDLE",
        help="bundle of edged-provision (default: the active one of ./models or the service, else what ships)",
    )
    parser.add_argument(
        "--frames", type=int, default=0, metavar="N", help="end after so many messages (default: never)"
    )
    parser.add_argument(
        "--confidence",
        type=float,
        metavar="0..1",
        help=f"report scores above this (default {ScoreLimits.confidence:g})",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; returns the exit code."""
    from edged.demo.choice import choose_model
    from edged.demo.run import run_demo

    model, reason = (arguments.model, "") if arguments.model else choose_model(own_source=bool(arguments.source))
    if reason:
        print(reason, flush=True)
    return run_demo(
        source=arguments.source,
        model=model,
        frames=arguments.frames,
        confidence=arguments.confidence,
    )
