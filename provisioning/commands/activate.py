"""edged-provision activate: choose the bundle that the daemon runs."""

from __future__ import annotations

import argparse

from provisioning.commands.common import active_line, add_store_argument, say
from provisioning.store import Store

NAME = "activate"
HELP = "make a bundle the one that the daemon runs"
DESCRIPTION = """\
Make a bundle the active one, after checking every byte of it. The one before stays for `rollback`; bundles that are
neither named nor active nor previous are removed.

A quantised model or an engine must have passed `edged-provision verify`; --unverified skips that.

A running daemon takes it over with `systemctl reload edged`, and goes back by itself where it fails: [probation] in
edged.toml. A bundle that failed so is refused; --again tries it once more.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("name", help="as `list` shows it")
    parser.add_argument("--unverified", action="store_true", help="even if it has not passed the accuracy gate")
    parser.add_argument("--again", action="store_true", help="even if it failed on this device before")
    add_store_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Activate. Returns 0."""
    bundle = Store(args.store).activate(args.name, unverified=args.unverified, again=args.again)
    say(active_line(bundle))
    return 0
