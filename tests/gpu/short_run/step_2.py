"""Step 2 of the short run: TensorRT for RTX on this device, built for, loaded, held against the CPU, measured."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.gpu import packages, tasks
from tests.gpu.short_run.common import Carried, run_step
from tests.gpu.steps import REFUSED, Plan

SECONDS = 180.0
BATCH = (1, 4, 8)
PRECISIONS = ("fp16", "fp32")  # what it computes faster first


def plan(carried: Carried) -> Plan:
    """What it does. A refused device ends it: there is nothing to measure then."""
    yield carried.receive("site", "rtx", "bundle", "frames")
    runner, store = carried.rtx_runner, carried.work / "store-rtx"
    yield tasks.facts(runner)
    yield tasks.fill(runner, carried.work / "bundle", store, PRECISIONS)
    for name in PRECISIONS:
        arguments = (name, "--store", str(store), "--batch", *map(str, BATCH), "--frames", str(carried.work / "frames"))
        engine = yield runner.module(
            f"engine {name}",
            "tests.gpu.short_run.rtx",
            *arguments,
            needs=(*packages.ENGINE, "tensorrt_rtx"),
            figures=True,
            limit_s=60.0,
        )
        if engine.state == REFUSED:
            return
        sizes = ",".join(map(str, BATCH))
        yield tasks.bench(runner, f"bench {name}", store, (name,), "--batches", sizes, "--repeats", "100", limit_s=45.0)
    yield tasks.gpu_tests(runner, "engine tests", tasks.REAL_ENGINE_TESTS, limit_s=60.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    return run_step(2, plan, arguments, seconds=SECONDS, about=__doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
