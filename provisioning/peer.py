"""Measures weights in eager torch, to compare with `edged bench --gpu`: `python -m provisioning.peer --help`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from edged.core.errors import DetectorError, EdgedError
from edged.core.types import Thresholds
from provisioning.evaluation.torch_predictor import TorchPredictor
from provisioning.model.checkpoint import read_checkpoint
from provisioning.model.network import Yolov5
from provisioning.model.torch_checkpoint import network_of

WARM_UP = 5


@dataclass(frozen=True, slots=True)
class PeerFigures:
    """The rates of one precision and batch size.

    Attributes:
        precision: fp32 or fp16.
        batch: images in a batch.
        model_fps: frames per second of the network alone, input and output on the device.
        whole_fps: frames per second from frames in memory to boxes: letterbox on the CPU, upload, network, decode and
            NMS on the CPU.
    """

    precision: str
    batch: int
    model_fps: float
    whole_fps: float


def measure(
    model: Yolov5, *, side: int, device: torch.device, batch: int, frame_wh: tuple[int, int], repeats: int
) -> PeerFigures:
    """Measure both rates for one batch size; the frames are random pixels.

    Args:
        model: on `device`, float32 or float16.
        side: of the square network input, pixels.
        device: where to run.
        batch: images in a batch.
        frame_wh: size of the frames, pixels.
        repeats: batches in each measurement.
    """
    width, height = frame_wh
    frames = list(np.random.default_rng(0).integers(0, 256, (batch, height, width, 3), np.uint8))
    dtype = next(model.parameters()).dtype
    images = torch.zeros((batch, 3, side, side), dtype=dtype, device=device)
    limits = Thresholds()
    predict = TorchPredictor(model, side=side, device=device, confidence=limits.confidence, iou=limits.iou)

    def network() -> None:
        with torch.inference_mode():
            model.sigmoid_maps(images)

    return PeerFigures(
        precision="fp16" if dtype == torch.float16 else "fp32",
        batch=batch,
        model_fps=batch / _seconds(network, device, repeats),
        whole_fps=batch / _seconds(lambda: predict(frames), device, repeats),
    )


def _seconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Mean seconds of one call, without waiting for the device between calls."""
    for _ in range(WARM_UP):
        work()
    _finish(device)
    began = time.perf_counter()
    for _ in range(repeats):
        work()
    _finish(device)
    return (time.perf_counter() - began) / repeats


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main(arguments: list[str] | None = None) -> int:
    """Print the figures as one line of JSON. Returns 0, or the exit code of the error."""
    parser = argparse.ArgumentParser(prog="python -m provisioning.peer", description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, metavar="FILE.pt")
    parser.add_argument("--size", type=int, default=640, help="input side (default: %(default)s)")
    parser.add_argument("--frame", default="1920x1080", metavar="WxH", help="(default: %(default)s)")
    parser.add_argument("--batches", default="1,4,8,16", help="(default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=50, help="(default: %(default)s)")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu (default: cuda)")
    options = parser.parse_args(arguments)
    try:
        figures = _all(options)
    except EdgedError as exc:
        sys.stderr.write(f"{exc}\n")
        return exc.exit_code
    sys.stdout.write(json.dumps({"torch": torch.__version__, "figures": [asdict(each) for each in figures]}) + "\n")
    return 0


def _all(options: argparse.Namespace) -> list[PeerFigures]:
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DetectorError(f"torch {torch.__version__} sees no CUDA device", remedy="install torch with CUDA")
    width, _, height = options.frame.partition("x")
    figures = []
    for dtype in (torch.float32, torch.float16) if device.type == "cuda" else (torch.float32,):
        model = network_of(read_checkpoint(options.weights)).fused().to(device=device, dtype=dtype)
        for batch in map(int, options.batches.split(",")):
            figures.append(  # noqa: PERF401 - each takes seconds
                measure(
                    model,
                    side=options.size,
                    device=device,
                    batch=batch,
                    frame_wh=(int(width), int(height)),
                    repeats=options.repeats,
                )
            )
    return figures


if __name__ == "__main__":
    sys.exit(main())
