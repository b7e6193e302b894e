"""The options of a command that reads cameras it is given by address: whose certificates are accepted."""

from __future__ import annotations

import argparse

from edged.core.trust import Trust


def add_trust_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--ca-file` and `--no-verify`."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--ca-file", default="", metavar="FILE", help="of https and rtsps: authorities to trust (PEM), not the system's"
    )
    group.add_argument("--no-verify", action="store_true", help="of https and rtsps: accept any certificate")


def trust_of(arguments: argparse.Namespace) -> Trust:
    """What was given."""
    return Trust(verify=not arguments.no_verify, ca_file=arguments.ca_file)
