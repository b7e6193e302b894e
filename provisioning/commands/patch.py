"""edged-provision patch: append the decode node to a bundle's graph."""

from __future__ import annotations

import argparse

from edged.core.decode import ListDecode
from edged.core.errors import BundleMismatch, UsageError
from provisioning.command_line import command_line
from provisioning.commands.common import add_store_argument, opened_to_change, say

NAME = "patch"
HELP = "append the YoloLayer_TRT decode node to a bundle's graph"
DESCRIPTION = """\
Append one YoloLayer_TRT node to the graph of a bundle's precision: what an engine with the decode inside is built from.
Prints the graph before and after. `edged-provision build` does this by itself.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("name", help="of the bundle")
    parser.add_argument(
        "--threshold",
        type=float,
        help="prenms_score_threshold of the node; the daemon cannot go below it (default: the bundle's, 0.001)",
    )
    parser.add_argument(
        "--typed", action="store_true", help="in FP16, for strongly typed networks (TensorRT 10.12 and up)"
    )
    add_store_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Append the node, store the graph in the bundle, print both graphs as tables. Returns 0."""
    from provisioning.graphs.table import before_and_after
    from provisioning.revision import OUTPUTS_MODEL, PLUGIN_MODEL, engine_models, model_for, revise
    from provisioning.store import Store

    store = Store(args.store)
    bundle = opened_to_change(store, args.name)
    threshold = bundle.manifest.min_confidence if args.threshold is None else args.threshold
    if not 0 <= threshold < 1:
        raise UsageError(f"--threshold must be in 0..1, got {threshold}")
    if isinstance(bundle.manifest.decode, ListDecode):
        raise BundleMismatch(
            f"{args.name} gives finished boxes ({bundle.manifest.decode.family}): there is nothing to decode",
            remedy=f"build it as it is: {command_line('build', args.name, store=args.store)}",
        )
    model = model_for(bundle, bundle.manifest.precision)
    made = engine_models(bundle.manifest, model, typed=args.typed, threshold=threshold)
    revise(store, bundle, made.bundled(), min_confidence=made.manifest.min_confidence)
    say(before_and_after(made.graphs[OUTPUTS_MODEL], made.graphs[PLUGIN_MODEL]))
    return 0
