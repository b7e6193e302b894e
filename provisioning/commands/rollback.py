"""edged-provision rollback: back to the bundle that was active before."""

from __future__ import annotations

import argparse

from provisioning.commands.common import active_line, add_store_argument, say
from provisioning.store import Store

NAME = "rollback"
HELP = "go back to the bundle that was active before"
DESCRIPTION = """\
Make the previously active bundle active again, after checking every byte of it. A second rollback undoes the first.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_store_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Roll back. Returns 0."""
    bundle = Store(args.store).rollback()
    say(active_line(bundle))
    return 0
