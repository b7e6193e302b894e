"""Step 3 of the short run: the kernels under compute-sanitizer, on those tests that show most in a minute."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.gpu import tasks
from tests.gpu.short_run.common import Carried, run_step
from tests.gpu.steps import Plan

SECONDS = 130.0
ONLY = "equals_the_cpu_bit_by_bit or random_sizes or more_candidates or two_images or images_of_a_batch"


def plan(carried: Carried) -> Plan:
    """What it does."""
    yield carried.receive("site")
    for tool in ("memcheck", "racecheck"):
        yield tasks.sanitizer(carried.runner, tool, tasks.KERNEL_TESTS, "-k", ONLY, limit_s=60.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    return run_step(3, plan, arguments, seconds=SECONDS, about=__doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
