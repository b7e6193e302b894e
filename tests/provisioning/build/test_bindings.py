"""Every call of ours into TensorRT, checked by mypy against stubs made from the real bindings of a version.

Run once for each version: EDGED_TENSORRT_BINDINGS names the folder of an unpacked wheel (see tests/gpu/bindings.py).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpu.bindings import bindings_folder, with_static_names

ROOT = Path(__file__).parents[3]
# Names and numbers of arguments. Types are left out: the stubs do not know what pybind converts by itself.
NOTICED = ("[attr-defined]", "[name-defined]", "[call-arg]")
GENERATE = """
import sys
from mypy.stubgenc import generate_stub_for_c_module
from tests.gpu.bindings import load_bindings
load_bindings()
generate_stub_for_c_module("tensorrt_bindings.tensorrt", sys.argv[1], known_modules=["tensorrt_bindings.tensorrt"])
"""
pytestmark = pytest.mark.slow


def users_of_tensorrt() -> list[str]:
    folders = ("edged/gpu", "plugins", "provisioning")
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [str(path.relative_to(ROOT)) for path in files if "import tensorrt as trt\n" in path.read_text()]


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for MYPYPATH with stubs of `tensorrt`."""
    bindings_folder()
    folder = tmp_path_factory.mktemp("stubs")
    raw = folder / "raw.pyi"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", GENERATE, str(raw)], check=True, env=environment, cwd=folder)
    lines = [line for line in raw.read_text().splitlines() if "add_scale_nd" not in line]  # malformed by the generator
    text = re.sub(r"\bbool\b", "builtins.bool", "\n".join(lines))  # tensorrt has a `bool` of its own
    (folder / "tensorrt").mkdir()
    (folder / "tensorrt" / "__init__.pyi").write_text(f"import builtins\n{text}\n__version__: str\n")
    return folder


def complaints(stubs: Path, files: list[str], folder: Path) -> list[str]:
    """What mypy says of copies of these files, about names and arguments."""
    copies = [folder / file.strip("/").replace("/", "_") for file in files]
    for file, copy in zip(files, copies, strict=True):
        copy.write_text(with_static_names((ROOT / file).read_text()))
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(stubs / "cache"), "--no-warn-unused-ignores"]
    environment = {**os.environ, "MYPYPATH": str(stubs)}
    done = subprocess.run(
        [*command, *map(str, copies)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    found = [line for line in done.stdout.splitlines() if ": error: " in line and not line.startswith(str(stubs))]
    return [line for line in found if line.endswith(NOTICED)]


def test_every_call_exists_in_this_version(stubs: Path, tmp_path: Path) -> None:
    files = users_of_tensorrt()
    assert "provisioning/build/tensorrt_build.py" in files
    assert complaints(stubs, files, tmp_path) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param("create_optimization_profile()", "create_optimisation_profile()", id="misspelt-method"),
        pytest.param("MemoryPoolType.WORKSPACE", "MemoryPoolType.WORKPLACE", id="misspelt-enum"),
        pytest.param("network.get_input(0)", "network.get_input(0, 1)", id="argument-count"),
    ],
)
def test_the_check_would_notice(stubs: Path, tmp_path: Path, right: str, wrong: str) -> None:
    text = (ROOT / "provisioning/build/tensorrt_build.py").read_text()
    assert right in text
    (tmp_path / "copies").mkdir()
    broken = tmp_path / "broken.py"
    broken.write_text(text.replace(right, wrong))
    assert complaints(stubs, [str(broken)], tmp_path / "copies")


def test_flags_that_versions_differ_in_are_asked_for_at_run_time(stubs: Path) -> None:
    known = (stubs / "tensorrt" / "__init__.pyi").read_text()
    source = (ROOT / "provisioning/build/tensorrt_build.py").read_text()
    extension = (bindings_folder() / "tensorrt.so").read_bytes()
    assert ("FP16: ClassVar[BuilderFlag]" in known) == (b"libnvinfer.so.10" in extension)
    assert "trt.BuilderFlag.FP16" not in source
