"""`edged migrate`: an edged.toml out of another program's configuration."""

from __future__ import annotations

import argparse
import io
import os
import sys
from pathlib import Path

from edged.core.errors import UsageError

NAME = "migrate"
HELP = "make an edged.toml out of another program's configuration"
DESCRIPTION = """\
Make an edged.toml out of the configuration of another program. There is one so far, Frigate:

  edged migrate frigate config.yml > edged.toml
  edged migrate frigate config.yml --out edged.toml
"""
FRIGATE = """\
Make an edged.toml out of Frigate's config.yml (Frigate 0.14 and newer): cameras with the streams that Frigate detects
on, zones, masks, object filters, tracked objects, rates and the broker. What edged does not have becomes a comment
that says what to do instead; what it cannot take over becomes one with the reason.

  edged migrate frigate config.yml --out edged.toml
  edged check --config edged.toml

No password is copied: a comment at each place says how to give it. Frigate's file is only read.

Exit code: 0 when an edged.toml was made; 2 where --out is there already, 65 for a file that is no configuration of
Frigate or has no camera to watch, 78 where it cannot be read or PyYAML is missing (pip install 'edged[migrate]').
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    programs = parser.add_subparsers(dest="program", required=True, metavar="PROGRAM")
    frigate = programs.add_parser(
        "frigate",
        help="from Frigate's config.yml",
        description=FRIGATE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    frigate.add_argument("file", type=Path, metavar="FILE", help="Frigate's config.yml")
    frigate.add_argument("--out", type=Path, metavar="FILE", help="write here (default: standard output)")
    frigate.add_argument("--force", action="store_true", help="overwrite what --out names")


def run(arguments: argparse.Namespace) -> int:
    """Read, write, say where; returns the exit code."""
    from edged.migrate.frigate import edged_toml

    out: Path | None = arguments.out
    _require_free(out, arguments.file, force=arguments.force)
    text, cameras = edged_toml(arguments.file)
    if out is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # as TOML is, whatever the terminal has
        print(text, end="")
        return 0
    try:
        with out.open("w" if arguments.force else "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as exc:
        raise UsageError(f"--out {out}: cannot be written: {exc.strerror}") from exc
    watched = f"{cameras} camera{'s' if cameras > 1 else ''}"
    print(f"wrote {out}: {watched}; read its comments, then: edged check --config {out}")
    return 0


def _require_free(out: Path | None, source: Path, *, force: bool) -> None:
    if out is None:
        if force:
            raise UsageError("--force without --out", remedy="name the file to overwrite")
        return
    if not os.path.exists(out):
        return
    if not force:
        raise UsageError(f"--out {out}: is there already", remedy="name another, or add --force to overwrite it")
    if os.path.exists(source) and os.path.samefile(out, source):
        raise UsageError(f"--out {out}: is Frigate's own file", remedy="name another")
