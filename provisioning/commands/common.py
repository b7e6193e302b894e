"""Shared by the subcommands: common options and argument types, output, and which store is used."""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
from pathlib import Path

from edged.core.bundle import ACTIVE, Bundle
from edged.core.errors import UsageError
from provisioning.command_line import STORE_VARIABLE, default_store
from provisioning.store import Store

_SIZE = re.compile(r"(\d{1,5})(?:[xX](\d{1,5}))?")


def add_store_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--store DIR`."""
    parser.add_argument(
        "--store",
        type=Path,
        default=default_store(),
        metavar="DIR",
        help=f"where the bundles are kept (default: %(default)s; environment: {STORE_VARIABLE})",
    )


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")


def size_wh(text: str) -> tuple[int, int]:
    """Parse `640` or `640x384` into (width, height) in pixels; an argparse type."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected 640 or 640x384 (width x height), got {text!r}")
    width = int(match[1])
    return width, int(match[2] or width)


def anchor_numbers(text: str) -> tuple[float, ...]:
    """Parse positive numbers separated by commas or blanks, such as `10,13,16,30`; an argparse type."""
    try:
        numbers = tuple(float(word) for word in text.replace(",", " ").split())
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"expected numbers such as 10,13,16,30, got {text!r}") from exc
    if not numbers or not all(math.isfinite(number) and number > 0 for number in numbers):
        raise argparse.ArgumentTypeError(f"expected positive numbers, got {text!r}")
    return numbers


def opened_to_change(store: Store, name: str) -> Bundle:
    """Open the bundle that a command is going to change.

    Raises:
        UsageError: `name` is `active`, a link that may lead to a bundle of any name.
        BundleMismatch: there is no such bundle, or this version cannot read it.
        DataError: it is damaged.
    """
    if name == ACTIVE:
        raise UsageError(f"{ACTIVE!r} names no bundle", remedy=f"say which one: {', '.join(store.names())}")
    return store.open(name)


def say(text: str) -> None:
    """Print one line to standard output."""
    sys.stdout.write(f"{text}\n")


def say_taken(data: Path) -> None:
    """If `data` is a folder, say on standard error which data-set file in it is read."""
    from provisioning.data.spec import spec_file

    if os.path.isdir(data):
        sys.stderr.write(f"{data}: reading {spec_file(data)}\n")


def say_json(value: object) -> None:
    """Print a result as JSON to standard output, for scripts."""
    say(json.dumps(value, indent=2, ensure_ascii=False))


def active_line(bundle: Bundle) -> str:
    """The message after a bundle was activated."""
    name, digest = bundle.manifest.name, bundle.directory.name[:12]
    return f"active: {name} ({digest}); the daemon takes it at its next start or reload"


def human_bytes(count: int) -> str:
    """A size such as `7.5 MB`, in decimal units (1 MB = 1,000,000 bytes)."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"  # noqa: PLR2004
