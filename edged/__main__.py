"""The command line `edged`: run, check, detect, view, demo, bench, migrate."""

from __future__ import annotations

import os

# Before anything could start CUDA: kernels are loaded when first used, which saves hundreds of megabytes.
os.environ.setdefault("CUDA_MODULE_LOADING", "LAZY")

import argparse
import sys
from importlib import import_module

from edged.core.exits import CommandParser, exit_code

COMMANDS = ("run", "check", "detect", "view", "demo", "bench", "migrate")

DESCRIPTION = """\
Watch cameras and publish what they see over MQTT.

  edged check                      is everything there: file, cameras, model, broker?
  edged run                        the service: capture, detect, publish until stopped
  edged detect street.mp4 --out o  look at pictures, videos or a camera once
  edged view                       a page to look at, and metrics
  edged demo                       see it work: own broker, own subscriber
  edged bench                      how near edged comes to this machine's limit
  edged migrate frigate config.yml coming from Frigate: its configuration as an edged.toml
"""


class _Version(argparse.Action):
    """Prints the version, which is read only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from edged import __version__

        print(f"edged {__version__}")
        parser.exit()


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand; returns the exit code (see edged.core.errors for the codes)."""
    argv = sys.argv[1:] if arguments is None else arguments

    def command() -> int:
        chosen = _parser().parse_args(argv)
        return int(chosen.run(chosen))

    return exit_code(command, program="edged", extra="cpu")


def _parser() -> CommandParser:
    parser = CommandParser(prog="edged", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        # Command modules import what they need inside run(): a camera's child process imports this module too.
        module = import_module(f"edged.commands.{name}")
        subparser = subparsers.add_parser(
            name, help=module.HELP, description=module.DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
