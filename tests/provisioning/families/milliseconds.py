"""What a frame takes in ONNX Runtime, model by model in turn.

    python -m tests.provisioning.families.milliseconds BUNDLE...

One thread, float32, random pictures; prints the median and the quartiles of each bundle's `model.onnx`. Import the same
weights at several sizes (`edged-provision import yolov5n.pt --size 416 --name yolov5n-416`) to compare families at one.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import onnxruntime

from edged.core.bundle import Bundle

WARM = 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=55)
    asked = parser.parse_args()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    runs = {}
    for path in asked.bundles:
        width, height = Bundle.open(path).manifest.input_wh
        session = onnxruntime.InferenceSession(str(path / "model.onnx"), options, providers=["CPUExecutionProvider"])
        picture = np.random.default_rng(0).random((1, 3, height, width), np.float32)
        runs[path] = session, {session.get_inputs()[0].name: picture}
    spent: dict[Path, list[float]] = {path: [] for path in runs}
    for turn in range(WARM + asked.rounds):
        for path, (session, pictures) in runs.items():
            before = time.perf_counter()
            session.run(None, pictures)
            if turn >= WARM:
                spent[path].append((time.perf_counter() - before) * 1000)
    for path, each in spent.items():
        low, _, high = statistics.quantiles(each, n=4)
        print(  # noqa: T201 - that is what it is for
            f"{path.name:24s} {statistics.median(each):7.1f} ms   ({low:.1f} to {high:.1f})"
        )


if __name__ == "__main__":
    main()
