"""`edged bench`: how near does the daemon come to this machine's limit?"""

from __future__ import annotations

import argparse
from pathlib import Path

from edged.core.errors import UsageError

MAX_SIDE = 16384
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

  edged bench --gpu --model models/fp16 --model models/int8 --torch yolov5n.pt --json > gpu.json

--gpu measures the GPU detector beside its bare engine instead, bundle by bundle: frames a second by batch size, each
stage and the upload, device memory with lazy module loading on and off, and with --torch the same weights run eagerly
by torch.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--model", type=Path, required=True, action="append", metavar="BUNDLE", help="bundle directory; --gpu: several"
    )
    parser.add_argument("--source", metavar="SOURCE", help="what every camera shows: a video or test:")
    parser.add_argument("--cameras", type=_count, default=2, metavar="N", help="of the run with several (default 2)")
    parser.add_argument(
        "--frames", type=_count, default=0, metavar="N", help="of each measurement (default: as many as take 4 s)"
    )
    parser.add_argument("--rounds", type=_count, default=3, metavar="N", help="of all measurements (default 3)")
    parser.add_argument("--compare", action="store_true", help="measure the plain loop as well")
    parser.add_argument("--sweep", type=_counts, default=(), metavar="N,N", help="numbers of cameras, e.g. 1,4,16,64")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="cores for the model (default: all)")
    parser.add_argument("--precision", choices=("auto", "fp32", "fp16", "int8"), default="auto", help="of the model")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw rate and latency against cameras")
    gpu = parser.add_argument_group("with --gpu")
    gpu.add_argument("--gpu", action="store_true", help="measure the GPU detector beside its engine")
    gpu.add_argument("--batches", type=_counts, default=(1, 4, 8, 16), metavar="N,N", help="(default 1,4,8,16)")
    gpu.add_argument("--frame", type=_size, default=(1920, 1080), metavar="WxH", help="frames (default 1920x1080)")
    gpu.add_argument("--device", default="auto", help="auto, an index or a UUID")
    gpu.add_argument("--repeats", type=_count, default=200, metavar="N", help="batches of each (default 200)")
    gpu.add_argument("--torch", type=Path, metavar="FILE.pt", help="run these weights eagerly in torch beside it")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    if arguments.gpu:
        return _run_gpu(arguments)
    if arguments.source is None or len(arguments.model) > 1:
        raise UsageError("edged bench takes --source and one --model, or --gpu")
    from edged.bench.rounds import BenchRequest
    from edged.bench.run import run_bench

    request = BenchRequest(
        model=arguments.model[0],
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


def _run_gpu(arguments: argparse.Namespace) -> int:
    from edged.bench.gpu import GpuBenchRequest, run_gpu_bench

    request = GpuBenchRequest(
        models=tuple(arguments.model),
        device=arguments.device,
        batches=arguments.batches,
        frame_wh=arguments.frame,
        repeats=arguments.repeats,
        torch=arguments.torch,
    )
    return run_gpu_bench(request, as_json=arguments.json)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and 0 < int(width) <= MAX_SIDE and 0 < int(height) <= MAX_SIDE):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT, e.g. 1920x1080, got {text!r}")
    return int(width), int(height)


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1_000_000:  # noqa: PLR2004
        raise argparse.ArgumentTypeError(f"expected 1 to 1000000, got {text}")
    return number


def _counts(text: str) -> tuple[int, ...]:
    return tuple(sorted({_count(part) for part in text.split(",")}))
