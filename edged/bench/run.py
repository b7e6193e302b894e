"""One `edged bench`: broker, rounds, table."""

from __future__ import annotations

import signal
import sys
import tempfile
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import orjson
from tqdm import tqdm

from edged.bench.plot import plot_sweep, require_matplotlib
from edged.bench.rounds import BenchRequest, Rounds
from edged.bench.scenario import resolved
from edged.bench.table import as_lines, as_object
from edged.bench.targets import rows
from edged.core.bundle import Bundle
from edged.demo.broker import start_broker

PLOTTED = (1, 2, 4, 8, 16)


def run_bench(request: BenchRequest, *, as_json: bool, plot: Path | None) -> int:
    """Measure, print, and draw where asked; returns the exit code.

    Raises:
        EdgedError: no such source or model, or a measurement failed.
    """
    bundle = Bundle.open(request.model)
    resolved(request.source)  # a missing video is reported before anything starts
    if plot is not None:
        require_matplotlib()
        request = replace(request, sweep=request.sweep or PLOTTED)
    # SIGTERM must not leave a daemon and a broker behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with ExitStack() as resources:
        folder = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="edged-bench-")))
        broker = resources.enter_context(closing(start_broker(folder)))
        bar = resources.enter_context(closing(tqdm(disable=None, unit=" runs")))

        def step(done: str) -> None:
            bar.set_postfix_str(done)
            bar.update()

        rounds = Rounds(request, bundle, port=broker.port, folder=folder, step=step)
        bar.total = rounds.steps
        measured = rounds.run()
    targets = rows(measured, input_side=max(bundle.manifest.input_wh))
    if as_json:
        sys.stdout.write(orjson.dumps(as_object(request, measured, targets), option=_JSON).decode() + "\n")
    else:
        sys.stdout.write("\n".join(as_lines(request, measured, targets)) + "\n")
    if plot is not None:
        plot_sweep(measured, title=f"{bundle.manifest.name}", file=plot)
        sys.stderr.write(f"wrote {plot}\n")
    return 0


_JSON = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
