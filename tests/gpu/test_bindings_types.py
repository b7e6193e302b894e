"""Every call of ours into TensorRT, checked by mypy against stubs of its real bindings, and its names at run time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edged.core.errors import DetectorError
from edged.gpu.engine import TensorRtEngine
from edged.gpu.tensorrt import TensorRt, log_of
from tests.gpu.bindings import bindings_folder, load_bindings, with_static_names
from tests.gpu.host_gpu import HostGpu
from tests.gpu.host_kernels import ROOT

OURS = (
    "edged/gpu/engine.py",
    "edged/gpu/contexts.py",
    "plugins/yolo_layer/plugin.py",
    "provisioning/build/tensorrt_build.py",
)
# Stubs made by looking at a compiled module say nothing of these; what is wrong with a call itself stays.
SILENT = ("override", "no-untyped-call", "no-any-return", "no-untyped-def", "unused-ignore", "misc")


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of package `tensorrt`, types only."""
    bindings_folder()
    pytest.importorskip("mypy")
    folder = tmp_path_factory.mktemp("stubs")
    command = [sys.executable, "-m", "tests.gpu.make_tensorrt_stubs", str(folder)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True)
    return folder


def mypy_errors(stubs: Path, *paths: str) -> list[str]:
    """Lines about the given files, not about the stubs."""
    silent = [word for code in SILENT for word in ("--disable-error-code", code)]
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(stubs / "cache"), *silent, *paths]
    environment = {**os.environ, "MYPYPATH": str(stubs)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert "usage:" not in done.stderr, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith(paths) and ": error:" in line]


@pytest.mark.slow
def test_types_every_call_of_ours_exists(stubs: Path, tmp_path: Path) -> None:
    copies = [tmp_path / path.replace("/", "_") for path in OURS]
    for path, copy in zip(OURS, copies, strict=True):
        copy.write_text(with_static_names((ROOT / path).read_text()))
    assert not mypy_errors(stubs, *map(str, copies))


@pytest.mark.slow
def test_types_a_wrong_call_is_seen(stubs: Path, tmp_path: Path) -> None:
    """The check above can fail: a misspelt method, a flag that 11 dropped, a wrong argument."""
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import tensorrt as trt\n"
        "def run(context: trt.IExecutionContext, config: trt.IBuilderConfig) -> None:\n"
        "    context.execute_async_v33(1)\n"
        "    context.execute_async_v3('stream')\n"
        "    config.set_flag(trt.BuilderFlag.FP16)\n"
    )
    errors = mypy_errors(stubs, str(wrong))
    assert any("execute_async_v33" in error for error in errors)
    assert any("[arg-type]" in error for error in errors)
    assert any("FP16" in error for error in errors) == (not hasattr(load_bindings().BuilderFlag, "FP16"))


ENGINE_NAMES = """num_io_tensors get_tensor_name get_tensor_shape get_tensor_dtype get_tensor_mode
    num_optimization_profiles get_tensor_profile_shape"""
CONTEXT_NAMES = """set_optimization_profile_async set_input_shape set_tensor_address execute_async_v3 device_memory"""


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("Runtime", "deserialize_cuda_engine"),
        ("ICudaEngine", ENGINE_NAMES),
        ("IExecutionContext", CONTEXT_NAMES),
        ("DataType", "FLOAT HALF INT32"),
        ("TensorIOMode", "INPUT OUTPUT"),
    ],
)
def test_names_that_the_loader_uses_exist(kind: str, names: str) -> None:
    bindings = load_bindings()
    assert not [name for name in names.split() if not hasattr(getattr(bindings, kind), name)]
    severities = {"INTERNAL_ERROR", "ERROR", "WARNING"}
    assert severities <= set(dir(bindings.ILogger.Severity))


def test_names_that_a_version_has_or_lacks_are_told_apart_by_what_it_offers() -> None:
    bindings = load_bindings()
    engine, context = bindings.ICudaEngine, bindings.IExecutionContext
    if hasattr(bindings, "ExecutionContextAllocationStrategy"):
        assert hasattr(bindings.ExecutionContextAllocationStrategy, "USER_MANAGED")
        assert hasattr(context, "set_device_memory") or hasattr(context, "device_memory")
    else:
        assert hasattr(engine, "create_execution_context_without_device_memory")
    assert hasattr(engine, "device_memory_size_v2") or hasattr(engine, "device_memory_size")


def test_loader_over_the_real_bindings_logs_and_says_that_tensorrt_cannot_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The stub libraries give no runtime, as the real ones do where there is no driver."""
    bindings = load_bindings()
    tensorrt = TensorRt("tensorrt", bindings)
    log_of(tensorrt).log(bindings.ILogger.Severity.WARNING, "a warning")
    log_of(tensorrt).log(bindings.ILogger.Severity.ERROR, "CUDA initialization failure with error: 35")
    assert "TensorRT: a warning" in caplog.text
    with pytest.raises(DetectorError, match="cannot start on this machine: CUDA initialization failure"):
        TensorRtEngine(tensorrt, b"plan", HostGpu(), where="engine.plan")
