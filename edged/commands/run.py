"""`edged run`."""

from __future__ import annotations

import argparse

NAME = "run"
HELP = "soon"
DESCRIPTION = "soon"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""


def run(arguments: argparse.Namespace) -> int:
    """Soon."""
    return 0
