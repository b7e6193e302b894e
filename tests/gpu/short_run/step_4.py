"""Step 4 of the short run: TensorRT 8.5.3, its engines in fp16 and int8 for batches of 1 and 2, measured."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.gpu import tasks
from tests.gpu.short_run.common import Carried, run_step
from tests.gpu.steps import Plan

SECONDS = 300.0
BATCH = (1, 1, 2)  # a build for each size: no more fit the time
PRECISIONS = ("fp16", "int8")


def plan(carried: Carried) -> Plan:
    """What it does, in order of worth."""
    yield carried.receive("bundle", "frames", "tensorrt", limit_s=90.0)
    runner, store = carried.tensorrt_runner, carried.work / "store-tensorrt"
    yield tasks.facts(runner)
    names = (yield tasks.fill(runner, carried.work / "bundle", store, PRECISIONS)).figures or PRECISIONS
    sizes = ",".join(map(str, sorted(set(BATCH))))
    for name in names:
        yield tasks.engine(runner, name, store, BATCH, carried.work / "frames", limit_s=120.0)
        yield tasks.bench(runner, f"bench {name}", store, (name,), "--batches", sizes, "--repeats", "100", limit_s=45.0)
    yield tasks.gpu_tests(runner, "engine tests", tasks.REAL_ENGINE_TESTS, limit_s=90.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    return run_step(4, plan, arguments, seconds=SECONDS, about=__doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
