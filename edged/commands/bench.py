"""`edged bench`: how near is the daemon to this machine's limit?"""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "bench"
HELP = "how near to this machine's limit: rate, CPU, latency, memory"
DESCRIPTION = """\
Run the real daemon against a broker of its own and, in turn with it, the limit of this machine: a loop that does
nothing but decode the video and run the model. Prints medians of several rounds, and whether each target holds.

  edged bench --model models/yolov5n --source street.mp4
  edged bench --model models/yolov5n --source street.mp4 --compare --sweep 1,4,16,64
  edged bench --model models/yolov5n --source test: --plot cameras.png --json > bench.json

--compare adds the plain loop of the tutorials; --sweep and --plot go through numbers of cameras (test patterns of mixed
sizes). Figures mean most on a machine that does nothing else: what others took is told at the end.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--model", type=Path, required=True, metavar="BUNDLE", help="bundle directory")
    parser.add_argument("--source", required=True, metavar="SOURCE", help="what every camera shows: a video or test:")
    parser.add_argument("--cameras", type=_count, default=2, metavar="N", help="of the run with several (default 2)")
    parser.add_argument("--frames", type=_count, default=120, metavar="N", help="of each measurement (default 120)")
    parser.add_argument("--rounds", type=_count, default=3, metavar="N", help="of all measurements (default 3)")
    parser.add_argument("--compare", action="store_true", help="measure the plain loop as well")
    parser.add_argument("--sweep", type=_counts, default=(), metavar="N,N", help="numbers of cameras, e.g. 1,4,16,64")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="cores for the model (default: all)")
    parser.add_argument("--precision", choices=("auto", "fp32", "fp16", "int8"), default="auto", help="of the model")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw rate and latency against cameras")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    from edged.bench.rounds import BenchRequest
    from edged.bench.run import run_bench

    request = BenchRequest(
        model=arguments.model,
        source=arguments.source,
        cameras=arguments.cameras,
        frames=arguments.frames,
        rounds=arguments.rounds,
        compare=arguments.compare,
        sweep=arguments.sweep,
        threads=arguments.threads,
        precision=arguments.precision,
    )
    return run_bench(request, as_json=arguments.json, plot=arguments.plot)


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1_000_000:  # noqa: PLR2004
        raise argparse.ArgumentTypeError(f"expected 1 to 1000000, got {text}")
    return number


def _counts(text: str) -> tuple[int, ...]:
    return tuple(sorted({_count(part) for part in text.split(",")}))
