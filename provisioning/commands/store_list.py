"""edged-provision list: list the bundles of the store."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from edged.core.errors import EdgedError
from provisioning.commands.common import add_json_argument, add_store_argument, say, say_json
from provisioning.store import Entry, Store

NAME = "list"
HELP = "list the bundles of the store"
DESCRIPTION = "List the bundles of the store: which is active, which one `rollback` goes back to."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_store_argument(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print one line for each bundle. Returns 0."""
    store = Store(args.store)
    entries = store.entries()
    if args.json:
        say_json([asdict(entry) for entry in entries])
        return 0
    if not entries:
        say(f"no bundle in {store.root}; make one with: edged-provision import WEIGHTS.pt --name NAME")
    width = max((len(entry.name) for entry in entries), default=0)
    for entry in entries:
        say(f"{entry.name:<{width}}  {entry.digest[:12]}  {_mark(entry):<8}  {_summary(store, entry)}".rstrip())
    if entries and store.has_active() and not any(entry.active for entry in entries):
        say("the active bundle has no name any more: its name was given to a newer one")
    return 0


def _mark(entry: Entry) -> str:
    return "active" if entry.active else "previous" if entry.previous else ""


def _summary(store: Store, entry: Entry) -> str:
    try:
        manifest = store.open(entry.name).manifest
    except EdgedError as exc:  # a damaged bundle must not hide the others
        return f"damaged: {exc}"
    width, height = manifest.input_wh
    return f"{manifest.architecture} {width}x{height}, {len(manifest.classes)} classes, licence {manifest.licence}"
