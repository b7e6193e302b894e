"""The command line `edged-provision`: one subcommand for each stage, and the whole recipe without one."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from edged import __version__
from edged.core.exits import CommandParser, exit_code, outlive_reader
from provisioning.commands import recipe

# Modules of provisioning.commands, in the order of the help. They import torch, onnx and the like inside run() only.
COMMANDS = (
    *("dataset", "train", "val"),
    *("fetch", "import_weights", "export", "sample", "quantize", "patch", "build", "verify"),
    *("store_list", "show", "activate", "rollback", "push", "pull"),
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; `sys.argv` if None. Returns the exit code, as edged/core/errors.py lists them."""

    def command() -> int:
        chosen = _parser().parse_args(arguments)
        outlive_reader()
        return int(chosen.run(chosen))

    return exit_code(command, program="edged-provision", extra="provision")


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="edged-provision", description=recipe.DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"edged-provision {__version__}")
    recipe.add_arguments(parser)
    parser.set_defaults(run=recipe.run)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name in COMMANDS:
        module = import_module(f"provisioning.commands.{name}")
        subparser = subparsers.add_parser(
            module.NAME,
            help=module.HELP,
            description=getattr(module, "DESCRIPTION", module.HELP),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
