"""What several subcommands share: the store's place, sizes on the command line, output."""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shlex
import sys
from pathlib import Path

from edged.core.bundle import ACTIVE, Bundle
from edged.core.errors import UsageError
from edged.core.paths import MODELS
from provisioning.store import Store

STORE_VARIABLE = "EDGED_STORE"

_SIZE = re.compile(r"(\d{1,5})(?:[xX](\d{1,5}))?")


def default_store() -> Path:
    """Where bundles are kept unless the command line says otherwise."""
    return Path(os.environ.get(STORE_VARIABLE) or MODELS)


def add_store_argument(parser: argparse.ArgumentParser) -> None:
    """`--store DIR`."""
    parser.add_argument(
        "--store",
        type=Path,
        default=default_store(),
        metavar="DIR",
        help=f"where the bundles are kept (default: %(default)s; environment: {STORE_VARIABLE})",
    )


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")


def size_wh(text: str) -> tuple[int, int]:
    """`640` or `640x384` (width x height) as an argparse type."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected 640 or 640x384 (width x height), got {text!r}")
    width = int(match[1])
    return width, int(match[2] or width)


def anchor_numbers(text: str) -> tuple[float, ...]:
    """`10,13,16,30,...` as an argparse type: positive numbers, separated by commas or blanks."""
    try:
        numbers = tuple(float(word) for word in text.replace(",", " ").split())
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"expected numbers such as 10,13,16,30, got {text!r}") from exc
    if not numbers or not all(math.isfinite(number) and number > 0 for number in numbers):
        raise argparse.ArgumentTypeError(f"expected positive numbers, got {text!r}")
    return numbers


def opened_to_change(store: Store, name: str) -> Bundle:
    """A bundle that a command is going to revise.

    Raises:
        UsageError: `active`, which is no name: whose bundle would be changed?
        BundleMismatch, DataError: as the store raises.
    """
    if name == ACTIVE:
        raise UsageError(f"{ACTIVE!r} names no bundle", remedy=f"say which one: {', '.join(store.names())}")
    return store.open(name)


def command_line(*words: str | Path, store: Path | None = None) -> str:
    """A command of ours to be typed, quoted for a shell; with `--store` where that is not the usual one."""
    at = ("--store", store) if store is not None and store != default_store() else ()
    return shlex.join(map(str, ("edged-provision", *words, *at)))


def say(text: str) -> None:
    """One line of result, on standard output."""
    sys.stdout.write(f"{text}\n")


def say_taken(data: Path) -> None:
    """Which file of a data set's folder is read, on standard error; nothing when the file itself was named."""
    from provisioning.data.spec import spec_file

    if os.path.isdir(data):
        sys.stderr.write(f"{data}: reading {spec_file(data)}\n")


def say_json(value: object) -> None:
    """A result for scripts, on standard output."""
    say(json.dumps(value, indent=2, ensure_ascii=False))


def active_line(bundle: Bundle) -> str:
    """What to say after a bundle was made the active one."""
    name, digest = bundle.manifest.name, bundle.directory.name[:12]
    return f"active: {name} ({digest}); the daemon takes it at its next start or reload"


def human_bytes(count: int) -> str:
    """`7.5 MB`; decimal units, as disks are sold."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"  # noqa: PLR2004
