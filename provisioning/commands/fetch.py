"""edged-provision fetch: weights from the network, verified."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from provisioning.commands.common import add_json_argument, human_bytes, say, say_json

NAME = "fetch"
HELP = "download weights and verify them"
DESCRIPTION = """\
Download weights by their name or their address, and verify their SHA-256.

  edged-provision fetch --list                       the names, with licence and what is known of the hash
  edged-provision fetch rtmdet-nano-person --trust-first
  edged-provision fetch yolov5s@6.2 --trust-first
  edged-provision fetch https://example.org/best.pt --sha256 4f18...
  edged-provision fetch https://example.org/export.zip#model.onnx --trust-first

A broken download is resumed. Where no hash is known, or only a stated one that nobody here compared with the file, give
--sha256, or --trust-first: it accepts the first download (of the stated hash, where there is one) and expects the same
from then on.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("weights", nargs="?", metavar="NAME|URL", help="a name of --list, or an address")
    what.add_argument("--list", action="store_true", help="print the known names")
    parser.add_argument("--sha256", default="", metavar="HEX", help="what it must hash to")
    parser.add_argument("--trust-first", action="store_true", help="accept and record what comes the first time")
    parser.add_argument("--licence", default="", help="of weights at an address")
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="where to put them (default: here)")
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Download and verify, or list the names. Returns 0."""
    if args.list:
        return _list(as_json=args.json)
    from provisioning.fetching.fetch import fetch, resolve

    source = resolve(args.weights, sha256=args.sha256, licence=args.licence)
    fetched = fetch(source, args.out, trust_first=args.trust_first)
    if args.json:
        say_json({**asdict(fetched), "path": str(fetched.path)})
        return 0
    say(f"{fetched.path}: {human_bytes(fetched.bytes)}, SHA-256 {fetched.sha256}")
    say(f"licence: {fetched.licence}")
    if source.note:
        say(source.note)
    return 0


def _list(*, as_json: bool) -> int:
    from provisioning.fetching.known import catalogue

    known = list(catalogue())
    if as_json:
        say_json([{"name": name, "hash": source.hash_state, **asdict(source)} for name, source in known])
        return 0
    for name, source in known:
        say(f"{name:<19} {source.licence:<11} hash {source.hash_state:<9} {source.about}")
        say(f"{'':<19} {source.url}")
    say("YOLOv5 of another release: yolov5s@6.2, also 5.0, 6.0, 6.1")
    return 0
