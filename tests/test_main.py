"""What holds before any command runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edged.core.extras import EXTRAS_WITH
from tests.handmade import write_bundle


@pytest.mark.parametrize(("given", "expected"), [("", "LAZY"), ("EAGER", "EAGER")], ids=["unset", "said"])
def test_cuda_loads_kernels_lazily_unless_said_otherwise(given: str, expected: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "CUDA_MODULE_LOADING"}
    if given:
        environment["CUDA_MODULE_LOADING"] = given
    code = "import edged.__main__, os; print(os.environ['CUDA_MODULE_LOADING'])"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = f"{sys.executable} -m edged detect --help | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def without(packages: str, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command on a machine that lacks these packages."""
    code = f"import sys; sys.modules.update(dict.fromkeys({packages.split()})); import {module}.__main__ as command"
    return subprocess.run(
        [sys.executable, "-c", f"{code}; sys.exit(command.main())", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


MISSING = " ".join(EXTRAS_WITH)


@pytest.mark.parametrize("arguments", [("detect", "street.png"), ("check",), ("run",), ("demo",)], ids=" ".join)
def test_edged_without_its_extras_says_what_to_install(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    bundle = write_bundle(tmp_path / "model")
    config = tmp_path / "edged.toml"
    config.write_text(f'[cameras.yard]\nsource = "/dev/video0"\n[mqtt]\nhost = "h"\n[model]\nbundle = "{bundle}"\n')
    places = {"detect": ["--model", str(bundle)], "demo": []}.get(arguments[0], ["--config", str(config)])
    done = without(MISSING, "edged", *arguments, *places)
    assert done.returncode == 78, done.stderr
    assert done.stderr.splitlines()[-1].endswith(" is not installed; pip install 'edged[cpu]'")
    assert "Traceback" not in done.stderr


def test_provisioning_without_its_extra_still_helps_and_says_what_to_install(tmp_path: Path) -> None:
    assert "edged-provision import" in without(MISSING, "provisioning", "import", "--help").stdout
    done = without(MISSING, "provisioning", "train", "--data", str(tmp_path), "--name", "yard")
    assert done.returncode == 78
    assert done.stderr.splitlines()[-1].endswith(" is not installed; pip install 'edged[provision]'")
    assert "Traceback" not in done.stderr


def test_training_without_torch_says_what_to_install(tmp_path: Path) -> None:
    done = without("torch", "provisioning", "train", "--data", str(tmp_path), "--name", "yard")
    assert done.returncode == 78
    assert done.stderr.splitlines()[-1].endswith(" is not installed; pip install 'edged[train]'")


def test_a_module_of_our_own_that_is_missing_is_not_blamed_on_the_user() -> None:
    done = without("edged.oneshot", "edged", "detect", "street.png")
    assert "ModuleNotFoundError" in done.stderr
