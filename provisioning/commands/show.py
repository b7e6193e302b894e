"""edged-provision show: describe a bundle."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from edged.core.bundle import ACTIVE, MODEL, Bundle
from edged.core.decode import Decode, GridDecode, ListDecode
from edged.core.manifest import Manifest
from edged.gpu.fit import built_for
from provisioning.commands.common import add_json_argument, add_store_argument, human_bytes, say, say_json
from provisioning.store import Store

NAME = "show"
HELP = "say what a bundle is and what its graph looks like"
DESCRIPTION = """\
Say what a bundle is: network, classes, input, licence, origin, files, engines and the graph, as a short table.

  edged-provision show            the active bundle
  edged-provision show street     a bundle of the store
  edged-provision show ./street   a bundle anywhere
"""
_CLASSES_SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("bundle", nargs="?", default=ACTIVE, metavar="NAME|DIR", help="default: the active one")
    add_store_argument(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the manifest's summary and the graph. Returns 0."""
    store = Store(args.store)
    bundle = Bundle.open(Path(args.bundle)) if "/" in args.bundle else store.open(args.bundle)
    if args.json:
        say_json({"path": str(bundle.directory), "manifest": json.loads(bundle.manifest.to_json())})
        return 0
    for label, text in _rows(bundle):
        say(f"{label:<10}{text}")
    say("")
    say(_graph(bundle))
    return 0


def _rows(bundle: Bundle) -> list[tuple[str, str]]:
    manifest = bundle.manifest
    width, height = manifest.input_wh
    engines = manifest.engines
    return [
        ("name", manifest.name),
        ("network", manifest.architecture),
        ("input", f"{width}x{height}, smallest score {manifest.min_confidence:g}"),
        ("classes", _classes(manifest)),
        *_decode_rows(manifest.decode),
        ("licence", manifest.licence),
        *(("origin", f"{key} {value}") for key, value in manifest.provenance.items()),
        *(("int8", f"{key} {value}") for key, value in manifest.calibration.items()),
        *(("report", f"{key} {_plain(value)}") for key, value in manifest.report.items()),
        *(("file", f"{name} {human_bytes(record.bytes)}") for name, record in manifest.files.items()),
        *(("engine", f"{each.file} {each.precision}, decode {each.decode}, {built_for(each)}") for each in engines),
    ]


def _decode_rows(decode: Decode) -> list[tuple[str, str]]:
    match decode:
        case GridDecode(anchors, strides):
            texts = ["  ".join(f"{w:g}x{h:g}" for w, h in head) for head in anchors]
            return [("stride", f"{stride:<3} anchors {text}") for stride, text in zip(strides, texts, strict=True)]
        case ListDecode(family):
            return [("boxes", f"finished, as {family} gives them: no anchors, no NMS")]


def _plain(value: object) -> str:
    return ", ".join(f"{key} {each}" for key, each in value.items()) if isinstance(value, Mapping) else str(value)


def _classes(manifest: Manifest) -> str:
    shown = ", ".join(manifest.classes[:_CLASSES_SHOWN])
    more = len(manifest.classes) - _CLASSES_SHOWN
    return f"{len(manifest.classes)}: {shown}" + (f" and {more} more" if more > 0 else "")


def _graph(bundle: Bundle) -> str:
    """The graph as a table; if the decode node was appended, before and after that."""
    import onnx

    from provisioning.graphs.table import before_and_after, graph_table
    from provisioning.revision import PLUGIN_MODEL

    before = onnx.load_from_string(bundle.read(MODEL))
    if PLUGIN_MODEL not in bundle.manifest.files:
        return graph_table(before)
    return before_and_after(before, onnx.load_from_string(bundle.read(PLUGIN_MODEL)))
