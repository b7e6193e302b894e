"""What a GPU machine is asked to do, as steps: shared by everything at once (`prove`) and by the short run."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.gpu import packages
from tests.gpu.steps import LIMIT_S, Step

ALL_TESTS = ("tests/plugins", "tests/gpu")
KERNEL_TESTS = (
    "tests/plugins/test_decode_kernel.py",
    "tests/gpu/test_nms_kernel.py",
    "tests/gpu/test_nv12_kernel.py",
    "tests/gpu/test_preprocess_kernel.py",
    "tests/gpu/test_rows_kernel.py",
)
REAL_ENGINE_TESTS = ("tests/gpu/test_on_gpu.py",)
SANITIZER = "compute-sanitizer"
TEST_LIMIT_S = "60"  # one test's, so that a hanging device is told by the test's name

WIDE, EXACT = (1, 8, 16), (1, 8, 8)
_SHARED_PROFILES_SINCE = 10


def batches(tensorrt: str) -> tuple[int, int, int]:
    """Smallest, optimal and largest batch of an engine that shall have a CUDA graph for each of its batch sizes.

    Args:
        tensorrt: version of the installed one; empty where there is none.
    """
    number = tensorrt.split(".", maxsplit=1)[0]
    # Before 10 a graph needs a profile for each batch size, and a build makes eight of them at most.
    return EXACT if number.isdigit() and int(number) < _SHARED_PROFILES_SINCE else WIDE


@dataclass(frozen=True, slots=True)
class Runner:
    """The Python that steps run in.

    Attributes:
        python: interpreter.
        environment: added to ours.
    """

    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)

    def module(self, name: str, module: str, *arguments: str, **rest: Any) -> Step:
        """`python -m module arguments` as a step."""
        command = (self.python, "-m", module, *arguments)
        return Step(name, command, python=self.python, environment=self.environment, **rest)


def facts(runner: Runner) -> Step:
    """What the machine is; its figures are `tests.gpu.facts`'."""
    return runner.module("machine", "tests.gpu.facts", figures=True, limit_s=90.0)


def gpu_tests(
    runner: Runner,
    name: str,
    paths: Sequence[str],
    *options: str,
    needs: Sequence[str] = packages.ALL_TESTS,
    limit_s: float = LIMIT_S,
) -> Step:
    """Those marked `gpu`, without the plugins that happen to be installed there: warnings of theirs would be errors."""
    options = ("-q", "-m", "gpu", "-p", "no:cacheprovider", "-p", "pytest_timeout", "--timeout", TEST_LIMIT_S, *options)
    alone = replace(runner, environment={**runner.environment, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})
    return alone.module(name, "pytest", *options, *paths, needs=needs, limit_s=limit_s)


def fill(runner: Runner, bundle: Path, store: Path, precisions: Sequence[str] = ()) -> Step:
    """A store with the bundle once for each precision, named after it; its figures are those names."""
    arguments = (str(bundle), str(store), *precisions)
    return runner.module("bundle", "tests.gpu.fill", *arguments, needs=packages.STORE, figures=True, limit_s=60.0)


def engine(
    runner: Runner,
    name: str,
    store: Path,
    batch: tuple[int, int, int],
    frames: Path | None,
    *options: str,
    limit_s: float = LIMIT_S,
) -> Step:
    """Build an engine of the store's bundle of that precision; with frames, hold it against float32 on the CPU."""
    arguments = [name, "--precision", name, "--batch", *map(str, batch), "--gpus", "this", "--store", str(store)]
    arguments += ["--work", str(store / "work"), *(("--frames", str(frames)) if frames else ()), *options]
    return runner.module(f"engine {name}", "provisioning", "build", *arguments, needs=packages.ENGINE, limit_s=limit_s)


def bench(
    runner: Runner, name: str, store: Path, precisions: Sequence[str], *options: str, limit_s: float = LIMIT_S
) -> Step:
    """`edged bench --gpu` of the engines of a store; its figures are the command's."""
    models = [word for precision in precisions for word in ("--model", str(store / precision))]
    arguments = ("bench", "--gpu", *models, *options, "--json")
    return runner.module(name, "edged", *arguments, needs=packages.BENCH, figures=True, limit_s=limit_s)


def sanitizer(runner: Runner, tool: str, paths: Sequence[str], *options: str, limit_s: float = LIMIT_S) -> Step:
    """The kernels' tests under one of compute-sanitizer's tools."""
    inner = gpu_tests(runner, tool, paths, *options, needs=packages.KERNEL_TESTS, limit_s=limit_s)
    command = (SANITIZER, "--error-exitcode", "9", "--print-limit", "20", "--tool", tool, *inner.command)
    return replace(inner, command=command)
