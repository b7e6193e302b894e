"""`edged demo`: see it work on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "demo"
HELP = "see it work: own broker, real daemon, a subscriber that prints"
DESCRIPTION = """\
Start an MQTT broker on a free loopback port, run the real daemon against it, subscribe as any client would, and print
a line a message, then a summary.

  edged demo --model models/yolov5n --source street.mp4
  edged demo --model models/yolov5n --source /dev/video0 --frames 100

Or, from a checkout: make demo SOURCE=street.mp4 MODEL=models/yolov5n FRAMES=100
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--source", metavar="SOURCE", help="video, folder, /dev/videoN, URL or test: (default: a rendered street)"
    )
    parser.add_argument("--model", type=Path, metavar="BUNDLE", help="bundle directory made by edged-provision")
    parser.add_argument(
        "--frames", type=int, default=0, metavar="N", help="end after so many messages (default: never)"
    )
    parser.add_argument("--confidence", type=float, metavar="0..1", help="report scores above this (default 0.25)")


def run(arguments: argparse.Namespace) -> int:
    """Run the demo until it has shown enough."""
    from edged.core.errors import UsageError
    from edged.demo.run import run_demo

    if arguments.model is None:
        raise UsageError(
            "no MODEL was named and none ships with edged yet",
            remedy="make one from YOLOv5 weights: edged-provision import yolov5n.pt --name yolov5n, then MODEL=BUNDLE",
        )
    return run_demo(
        source=arguments.source,
        model=arguments.model,
        frames=arguments.frames,
        confidence=arguments.confidence,
    )
