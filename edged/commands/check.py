"""`edged check`: is everything there that `edged run` needs?"""

from __future__ import annotations

import argparse
from pathlib import Path

from edged.core.exits import outlive_reader
from edged.core.paths import CONFIG

NAME = "check"
HELP = "is everything there: file, model, cameras, broker?"
DESCRIPTION = """\
Read the configuration, load the model, open every camera, connect to the broker. One line each: of a camera size, rate,
decoder, transport and the distance of its key frames.

  edged check
  edged check --config ./edged.toml --json
  edged check --pictures /tmp/cameras        what each camera sees, as CAMERA.jpg

Exit code: 0 when all is well; else that of the first failure: 65 bad data, 69 a camera or the broker cannot be reached,
78 wrong configuration or a bundle that does not fit this machine.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--config", type=Path, default=CONFIG, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write what each camera sees there, as CAMERA.jpg")


def run(arguments: argparse.Namespace) -> int:
    """Check everything, print, and return the first failure's code."""
    from edged.check.parts import check_all

    outlive_reader()
    return check_all(arguments.config, as_json=arguments.json, pictures=arguments.pictures)
