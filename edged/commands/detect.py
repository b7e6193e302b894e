"""`edged detect`: one look at pictures, videos, folders, cameras or streams."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from edged.commands.trust import add_trust_arguments, trust_of
from edged.core.limits import ScoreLimits

NAME = "detect"
HELP = "look once at pictures, videos, folders, cameras or streams"
DESCRIPTION = """\
Look at pictures, videos, folders, patterns, cameras or streams, once.

  edged detect bus.jpg --model models/active
  edged detect holiday/ clip.mp4 --out seen --jsonl seen.jsonl
  edged detect /dev/video0 --frames 100 --jsonl - | jq .detections
  edged detect yard.mp4 --events - --config edged.toml --camera yard --out seen

The objects of a video are followed in the video's own time. With --config its zones and lines are drawn and its filters
hold; the model is still that of --model.

Boxes are in pixels of the picture as one sees it: turned upright where its EXIF data says so.

Exit code: 0 when everything could be read; else that of the first failure (65 bad data, 69 no such source, 70 the
detector failed, 78 the model does not fit).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="file, folder, pattern, /dev/videoN, URL or test:")
    add_model_arguments(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write annotated pictures (.jpg) and videos (.mp4) here"
    )
    parser.add_argument("--jsonl", metavar="FILE", help="write one JSON object per frame; - is standard output")
    parser.add_argument(
        "--events",
        metavar="FILE",
        help="of videos and streams: write who came, crossed a line, left; one JSON object each",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="tracking, filters, zones, lines and masks of this configuration"
    )
    parser.add_argument("--camera", default="", metavar="NAME", help="of this camera in it, where there are several")
    add_trust_arguments(parser)
    parser.add_argument("--frames", type=_positive, metavar="N", help="stop after so many frames")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that choose the model and its limits; shared with other commands."""
    parser.add_argument("--model", type=Path, metavar="BUNDLE", help="bundle directory (default: the active one)")
    parser.add_argument(
        "--confidence",
        type=float,
        metavar="0..1",
        help=f"report scores above this (default {ScoreLimits.confidence:g})",
    )
    parser.add_argument(
        "--iou", type=float, metavar="0..1", help=f"overlap above which two boxes are one (default {ScoreLimits.iou:g})"
    )
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="report only these classes")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU cores for inference (default: all)")
    parser.add_argument("--precision", choices=("auto", "fp32", "int8"), help="model to run (default: the bundle's)")


def run(arguments: argparse.Namespace) -> int:
    """Detect, write, summarise."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # hide its warnings: edged's own errors say more
    from edged.oneshot.run import Request, run_once

    return run_once(
        Request(
            sources=tuple(arguments.sources),
            model=model_changes(arguments),
            engine=engine_changes(arguments),
            out=arguments.out,
            jsonl=arguments.jsonl or "",
            frames=arguments.frames,
            events=arguments.events or "",
            config=arguments.config,
            camera=arguments.camera,
            trust=trust_of(arguments),
        )
    )


def model_changes(arguments: argparse.Namespace) -> dict[str, object]:
    """The given options of the model, as keys of `[model]`."""
    said = {"bundle": arguments.model, "confidence": arguments.confidence, "iou": arguments.iou}
    said["classes"] = tuple(arguments.classes) if arguments.classes else None
    return {key: value for key, value in said.items() if value is not None}


def engine_changes(arguments: argparse.Namespace) -> dict[str, object]:
    """The given options of the engine, as keys of `[engine]`."""
    said = {"threads": arguments.threads, "precision": arguments.precision}
    return {key: value for key, value in said.items() if value is not None}


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {text}")
    return value
