"""edged-provision push: a bundle into an OCI registry, signed."""

from __future__ import annotations

import argparse
from pathlib import Path

from edged.core.errors import UsageError
from provisioning.commands.common import add_json_argument, add_store_argument, opened_to_change, say, say_json

NAME = "push"
HELP = "put a bundle into an OCI registry, signed, for other boxes to pull"
DESCRIPTION = """\
Put what is portable of a bundle into an OCI registry: ONNX, INT8, calibration and engines of TensorRT for RTX, not the
device's own engine, and no report, whose pictures may show what your cameras saw. Only missing files are sent.

  openssl ecparam -name prime256v1 -genkey -noout -out bundles.key && chmod 600 bundles.key
  openssl ec -in bundles.key -pubout -out bundles.pub              the boxes get this one
  edged-provision push street registry.example.org/boxes/street:1 --key bundles.key

The signature has the form of cosign's. A user and a password stand in a file like docker's config.json.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("name", help="of the bundle")
    parser.add_argument("to", metavar="REGISTRY/NAME:TAG")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--key", type=Path, metavar="FILE", help="sign with it: ECDSA P-256, PEM")
    how.add_argument("--unsigned", action="store_true", help="do not sign")
    add_access_arguments(parser)
    add_store_argument(parser)
    add_json_argument(parser)


def add_access_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how the registry is reached; the names are those of `Access`."""
    parser.add_argument("--plain-http", action="store_true", help="a registry without TLS: anybody may read along")
    parser.add_argument("--ca-file", type=Path, metavar="FILE", help="PEM of an authority to trust beside the system's")
    parser.add_argument("--credentials", type=Path, metavar="FILE", help="like docker's config.json (default: that)")


def run(args: argparse.Namespace) -> int:
    """Push. Returns 0."""
    from provisioning.registry.connection import Access, Connection
    from provisioning.registry.push import push
    from provisioning.registry.reference import parse_reference
    from provisioning.registry.signature import private_key
    from provisioning.store import Store

    reference = parse_reference(args.to)
    if not reference.tag or reference.digest:
        raise UsageError(f"{args.to} needs a tag to push to, and no digest", remedy="write registry/name:tag")
    key = private_key(args.key) if args.key else None
    bundle = opened_to_change(Store(args.store), args.name)
    access = Access(args.plain_http, args.ca_file, args.credentials)
    digest = push(bundle, Connection(reference, access, writes=True), key)
    if args.json:
        say_json({"reference": str(reference), "digest": digest, "signed": key is not None})
    else:
        say(f"{reference}: {digest}, {'signed' if key else 'not signed'}")
    return 0
