"""edged-provision pull: a bundle from an OCI registry, checked and activated."""

from __future__ import annotations

import argparse
from pathlib import Path

from edged.core.paths import STATE_DIR
from provisioning.commands.common import active_line, add_json_argument, add_store_argument, human_bytes, say, say_json
from provisioning.commands.push import add_access_arguments

NAME = "pull"
HELP = "take a bundle from an OCI registry and make it the active one"
DESCRIPTION = """\
Take a bundle from an OCI registry, check its signature and every byte, and make it the active one. Only missing files
are fetched; a broken download goes on where it stopped. After any failure the active bundle is what it was before.

  edged-provision pull registry.example.org/boxes/street:1 --verify-key /etc/edged/bundles.pub
  edged-provision pull registry.example.org/boxes/street@sha256:4f18... --verify-key /etc/edged/bundles.pub

A tag may move, also back to an older bundle that was signed: a digest does not. On a device with TensorRT build its own
engine then: edged-provision build NAME --frames DIR --activate
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("source", metavar="REGISTRY/NAME:TAG|@DIGEST")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--verify-key", type=Path, metavar="FILE", help="it must be signed by this public key (PEM)")
    how.add_argument("--unsigned", action="store_true", help="take it from whoever could write to the registry")
    parser.add_argument("--name", default="", help="what to call it here (default: its own name)")
    parser.add_argument("--work", type=Path, default=STATE_DIR / "provision", metavar="DIR", help="for downloads")
    add_access_arguments(parser)
    add_store_argument(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Pull and activate. Returns 0."""
    from provisioning.registry.connection import Access, Connection
    from provisioning.registry.install import install
    from provisioning.registry.pull import resolve
    from provisioning.registry.reference import parse_reference
    from provisioning.registry.signature import public_key
    from provisioning.store import Store

    key = public_key(args.verify_key) if args.verify_key else None
    access = Access(args.plain_http, args.ca_file, args.credentials)
    connection = Connection(parse_reference(args.source), access)
    digest, blobs = resolve(connection, key)
    installed = install(connection, digest, blobs, args.work / "registry", Store(args.store), name=args.name)
    if args.json:
        path = str(installed.bundle.directory)
        facts = {"digest": digest, "bundle": path, "changed": installed.changed, "before": installed.before}
        say_json({**facts, "fetched_bytes": installed.fetched_bytes})
        return 0
    if installed.before:
        say(f"{installed.bundle.manifest.name} is another bundle now: {digest}, {installed.before} before")
    say(f"{digest}: {human_bytes(installed.fetched_bytes)} fetched")
    say(active_line(installed.bundle) if installed.changed else "nothing to do: it is up to date and active")
    return 0
