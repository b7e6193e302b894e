"""edged-provision without a subcommand: make what is out of date, as `[provision]` of edged.toml says."""

from __future__ import annotations

import argparse
from pathlib import Path

from edged.core.paths import CONFIG
from provisioning.commands.common import active_line, add_json_argument, say, say_json

DESCRIPTION = """\
Make a model bundle for this device.

Without a command, everything that [provision] of edged.toml asks for and that is out of date:
weights (fetched or trained) -> ONNX -> frames -> INT8 -> decode plugin -> engine -> verification -> activation.

  edged-provision                      make what is out of date, activate it if it is as good as float32
  edged-provision --dry-run            say what would be made
  edged-provision import yolov5n.pt --name street --size 640
  edged-provision list
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--config", type=Path, default=CONFIG, metavar="FILE", help="(default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="make every stage anew")
    parser.add_argument("--dry-run", action="store_true", help="make nothing, say what would be made")
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Run the recipe. Returns 0."""
    from provisioning.recipe.run import run_recipe
    from provisioning.recipe.settings import read_settings

    settings = read_settings(args.config)
    report = _quiet if args.json else say
    outcome = run_recipe(settings, force=args.force, dry_run=args.dry_run, say=report)
    if args.json:
        stages = [{"stage": each.stage, "key": each.key, "fresh": each.fresh} for each in outcome.outputs]
        bundle = str(outcome.bundle.directory) if outcome.bundle is not None else None
        say_json({"stages": stages, "bundle": bundle, "changed": outcome.changed, "left": outcome.left})
        return 0
    if outcome.bundle is not None:
        say(active_line(outcome.bundle) if outcome.changed else "nothing to do: everything is up to date and active")
    if outcome.left:
        say(f"left to do: {outcome.left}")
    return 0


def _quiet(_line: str) -> None:
    """Print nothing: with --json, one object at the end says everything."""
