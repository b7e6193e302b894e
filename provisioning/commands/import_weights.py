"""edged-provision import: weights or an ONNX export in, a bundle out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from provisioning.commands.common import (
    active_line,
    add_json_argument,
    add_store_argument,
    human_bytes,
    say,
    say_json,
    size_wh,
)

NAME = "import"
HELP = "make a bundle from weights (.pt) or an ONNX export"
DESCRIPTION = """\
Read YOLOv5 weights, export them to ONNX and keep them in the store as a bundle.

  edged-provision import yolov5n.pt --name street --size 640
  edged-provision import best.pt --name yard --size 640x384 --activate
  edged-provision import best.onnx --name yard --names classes.txt

A .pt file is an official or user-trained checkpoint of YOLOv5 5.0 to 7.0 (n, s, m, l, x) or one of
`edged-provision train`. It is read without executing the program that every such file holds. A .onnx file is a YOLOv5
export, with or without the decode inside; it is cut at its three heads and checked against the original.
The first bundle of a store becomes the active one.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("weights", type=Path, metavar="WEIGHTS", help="a .pt or .onnx file")
    parser.add_argument("--name", required=True, help="what to call the bundle")
    parser.add_argument(
        "--size",
        type=size_wh,
        metavar="640|640x384",
        help="network input, width x height, multiples of 32 (default: 640, or what the ONNX file was exported with)",
    )
    parser.add_argument("--licence", default="", help="of the weights, where the file does not say")
    parser.add_argument("--activate", action="store_true", help="make it the bundle that the daemon runs")
    parser.add_argument("--names", type=Path, metavar="FILE", help="ONNX only: class names, one a line")
    parser.add_argument(
        "--anchors", metavar="LIST", help="ONNX without decode only: the 18 numbers w,h,w,h,... in pixels, by stride"
    )
    add_store_argument(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Import, say what was made; 0."""
    # torch and onnx take seconds to load: only when there is work
    from provisioning.importing import UNKNOWN_LICENCE, export_checkpoint
    from provisioning.store import Store, require_name

    require_name(args.name)
    store = Store(args.store)
    exported = export_checkpoint(args.weights, name=args.name, input_wh=args.size or (640, 640), licence=args.licence)
    bundle = exported.add_to(store)
    if args.activate or store.active() is None:
        store.activate(args.name)
    entry = next(entry for entry in store.entries() if entry.name == args.name)
    manifest = bundle.manifest
    if args.json:
        say_json(
            {
                "name": entry.name,
                "digest": entry.digest,
                "active": entry.active,
                "path": str(store.root / entry.name),
                "manifest": json.loads(manifest.to_json()),
            }
        )
        return 0
    width, height = manifest.input_wh
    total = sum(record.bytes for record in manifest.files.values())
    say(
        f"{entry.name}: {manifest.architecture} of release {manifest.provenance.get('release', 'unknown')}, "
        f"{len(manifest.classes)} classes, input {width}x{height}, {human_bytes(total)}"
    )
    say(f"licence: {manifest.licence}" + (" (say it with --licence)" if manifest.licence == UNKNOWN_LICENCE else ""))
    say(f"bundle: {store.root / entry.name}")
    if entry.active:
        say(active_line(bundle))
    else:
        say(f"not active; make it so with: edged-provision activate {entry.name}")
    return 0
