"""The list of packages that GPU steps need, held against what they import: no other package can be found here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from tests.gpu import packages
from tests.gpu.packages import CARRIED, DISTRIBUTIONS, missing
from tests.gpu.steps import ROOT
from tests.gpu.tasks import KERNEL_TESTS

# Finders that know the packages named in the first argument, what they bring themselves, and no others.
ONLY = """
import sys
from importlib.metadata import packages_distributions
from tests.gpu.packages import BROUGHT, normal
names = {normal(name) for name in (*sys.argv[1].split(","), *BROUGHT, "edged")}
foreign = {module for module, owners in packages_distributions().items() if not set(map(normal, owners)) & names}
class Only:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if path is None and name in foreign else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = map(Only, sys.meta_path)
"""
COLLECT = """
import pytest
options = ["-q", "-m", "gpu", "-p", "no:cacheprovider", "-p", "pytest_timeout", "--collect-only"]
sys.exit(pytest.main([*options, *sys.argv[2:]]))
"""
IMPORT = """
import importlib
for name in sys.argv[2:]:
    importlib.import_module(name)
"""


def with_only(modules: Sequence[str], code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    for module in ("cuda.bindings.driver", "pynvml"):
        pytest.importorskip(module, reason=f"{DISTRIBUTIONS[module]} is not installed")
    names = ",".join(DISTRIBUTIONS[module] for module in modules)
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = (sys.executable, "-c", ONLY + code, names, *arguments)
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("modules", "paths", "least"),
    [
        pytest.param(packages.ALL_TESTS, ("tests/plugins", "tests/gpu"), 200, id="all"),
        pytest.param(packages.KERNEL_TESTS, KERNEL_TESTS, 150, id="kernels"),
    ],
)
def test_listed_packages_are_enough_for_the_tests(modules: Sequence[str], paths: Sequence[str], least: int) -> None:
    done = with_only(modules, COLLECT, *paths)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert sum("::" in line for line in done.stdout.splitlines()) >= least


@pytest.mark.parametrize(
    ("modules", "imported"),
    [
        pytest.param(packages.STORE, ("tests.gpu.fill",), id="store"),
        pytest.param(packages.DETECTOR, ("tests.gpu.short_run.detector", "edged.gpu.device"), id="detector"),
        pytest.param(
            packages.BENCH,
            ("edged.commands.bench", "edged.bench.gpu", "edged.gpu.bench.child", "edged.gpu.nvml", "edged.gpu.device"),
            id="bench",
        ),
        pytest.param(
            packages.ENGINE,
            (
                "provisioning.__main__",
                "provisioning.commands.build",
                "provisioning.build.bundle_engine",
                "provisioning.build.tensorrt_maker",
                "provisioning.build.child",
                "provisioning.verify.checked",
                "edged.gpu.nvml",
                "edged.gpu.device",
            ),
            id="engine",
        ),
    ],
)
def test_listed_packages_are_enough_for_the_commands(modules: Sequence[str], imported: Sequence[str]) -> None:
    done = with_only(modules, IMPORT, *imported)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("left_out", ["pydantic", "paho.mqtt", "onnxruntime"])
def test_listed_packages_matter(left_out: str) -> None:
    done = with_only([module for module in packages.ALL_TESTS if module != left_out], COLLECT, "tests/gpu")
    module = left_out.partition(".")[0]
    assert done.returncode != 0 and f"No module named '{module}'" in done.stdout


def test_missing_names_the_distribution() -> None:
    assert missing(sys.executable, ("json", "numpy"), os.environ) == []
    assert missing(sys.executable, ("no_such_module", "json"), os.environ) == ["no_such_module"]
    assert not set(CARRIED) & set(packages.USUAL)


@pytest.mark.parametrize("module", ["tests.gpu.prove", "tests.gpu.facts"])
def test_commands_start_on_a_python_without_any_package(module: str) -> None:
    done = subprocess.run((sys.executable, "-S", "-m", module, "--help"), cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
