"""edged-provision import: make a bundle from weights or an ONNX export."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from edged.core.bundle import Bundle
from provisioning.command_line import command_line
from provisioning.commands.common import (
    active_line,
    add_json_argument,
    add_store_argument,
    human_bytes,
    say,
    say_json,
)
from provisioning.commands.model_options import add_model_arguments

NAME = "import"
HELP = "make a bundle from weights (.pt) or an ONNX export"
DESCRIPTION = """\
Read YOLOv5 weights or the ONNX file of another detector, and keep them in the store as a bundle.

  edged-provision import yolov5n.pt --name street --size 640
  edged-provision import best.pt --name yard --size 640x384 --activate
  edged-provision import best.onnx --name yard --names classes.txt
  edged-provision import yolox_nano.onnx --name yard --names coco --image yard.jpg

A .pt file is an official or user-trained checkpoint of YOLOv5 5.0 to 7.0 (n, s, m, l, x) or one of
`edged-provision train`. It is read without executing the program that every such file holds.
A .onnx file is an export of YOLOv5, YOLOX, YOLOv8 or 11, RTMDet, NanoDet, RT-DETR, D-FINE, DEIM, RF-DETR, or an
end-to-end one such as YOLOv10's. It is recognised by what it computes, rewritten for the daemon, and compared with the
original on a picture.

The first bundle of a store becomes the active one.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--name", required=True, help="what to call the bundle")
    add_model_arguments(parser)
    parser.add_argument("--licence", default="", help="of the weights, where the file does not say")
    parser.add_argument("--activate", action="store_true", help="make it the bundle that the daemon runs")
    add_store_argument(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Import, and activate if asked or if no bundle is active yet. Returns 0."""
    # torch and onnx take seconds to load: only when there is work
    from provisioning.families.recognised import Hints
    from provisioning.importing import export_model, read_names
    from provisioning.store import Store, require_name

    require_name(args.name)
    store = Store(args.store)
    exported = export_model(
        args.weights,
        name=args.name,
        input_wh=args.size,
        licence=args.licence,
        names=read_names(args.names) if args.names else (),
        anchors=args.anchors,
        hints=Hints(args.pixels, args.image),
    )
    with store.locked():
        bundle = exported.add_to(store)
        if args.activate or not store.has_active():
            store.activate(args.name)
        entry = next(entry for entry in store.entries() if entry.name == args.name)
    if args.json:
        path, manifest = str(store.root / entry.name), json.loads(bundle.manifest.to_json())
        say_json({**asdict(entry), "path": path, "manifest": manifest})
    else:
        _describe(bundle, store.root, active=entry.active)
    return 0


def _describe(bundle: Bundle, root: Path, *, active: bool) -> None:
    manifest = bundle.manifest
    width, height = manifest.input_wh
    release = manifest.provenance.get("release")
    size = human_bytes(sum(record.bytes for record in manifest.files.values()))
    network = f"{manifest.architecture} of release {release}" if release else manifest.architecture
    say(f"{manifest.name}: {network}, {len(manifest.classes)} classes, input {width}x{height}, {size}")
    say(f"licence: {manifest.licence}" + (" (say it with --licence)" if manifest.licence == "unknown" else ""))
    if proof := manifest.provenance.get("proof"):
        say(f"shown: {proof}; pixels: {manifest.provenance['pixels']}")
    say(f"bundle: {root / manifest.name}")
    if active:
        say(active_line(bundle))
    else:
        say(f"not active; make it so with: {command_line('activate', manifest.name, store=root)}")
