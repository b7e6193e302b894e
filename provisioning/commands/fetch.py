"""edged-provision fetch: weights from the network, verified."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from provisioning.commands.common import add_json_argument, human_bytes, say, say_json

NAME = "fetch"
HELP = "download weights and verify them"
DESCRIPTION = """\
Download weights by the name of an official YOLOv5 release or by their address, and verify their SHA-256.

  edged-provision fetch yolov5n
  edged-provision fetch yolov5s@6.2 --trust-first
  edged-provision fetch https://example.org/best.pt --sha256 4f18...

A broken download is resumed. The SHA-256 is known only for yolov5n of release 7.0; for other weights give --sha256, or
--trust-first to accept the first download and expect the same from then on. Official weights are AGPL-3.0.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "weights", metavar="NAME|URL", help="yolov5n, s, m, l or x, with @RELEASE (default 7.0); or a URL"
    )
    parser.add_argument("--sha256", default="", metavar="HEX", help="what it must hash to")
    parser.add_argument("--trust-first", action="store_true", help="accept and record what comes the first time")
    parser.add_argument("--licence", default="", help="of weights at an address")
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="where to put them (default: here)")
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Download and verify. Returns 0."""
    from provisioning.fetch import LICENCE_NOTE, fetch, official, resolve

    source = resolve(args.weights, sha256=args.sha256, licence=args.licence)
    fetched = fetch(source, args.out, trust_first=args.trust_first)
    if args.json:
        say_json({**asdict(fetched), "path": str(fetched.path)})
        return 0
    say(f"{fetched.path}: {human_bytes(fetched.bytes)}, SHA-256 {fetched.sha256}")
    say(f"licence: {fetched.licence}")
    if official(args.weights) is not None:
        say(LICENCE_NOTE)
    return 0
