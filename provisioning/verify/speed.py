"""Measures ONNX Runtime's time for graphs of a bundle on one core, which limits the rate of several cameras."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import numpy as np

from edged.core.bundle import Bundle
from edged.cpu.session import BoundModel, open_session

RUNS = 15


def one_core_ms(bundle: Bundle, files: Sequence[str]) -> tuple[float, ...]:
    """Median milliseconds of one inference of each file. The graphs run in turn, so other load slows all alike.

    Raises:
        DataError, DetectorError: a graph cannot be loaded or run.
    """
    width, height = bundle.manifest.input_wh
    blob = np.random.default_rng(0).random((1, 3, height, width), np.float32)
    models = [BoundModel(open_session(bundle.read(file), threads=1, where=file), blob) for file in files]
    times: list[list[float]] = [[] for _ in models]
    for _ in range(RUNS):
        for model, taken in zip(models, times, strict=True):
            began_s = time.perf_counter()
            model.run()
            taken.append((time.perf_counter() - began_s) * 1e3)
    return tuple(round(statistics.median(taken[1:]), 3) for taken in times)  # the first run warms up
