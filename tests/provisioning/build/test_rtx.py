"""The real TensorRT for RTX, whose builder needs no GPU: it judges our graphs, our plugin and our builder code."""

from __future__ import annotations

import base64
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

from edged.core.bundle import MODEL, Bundle
from edged.core.decode import GridDecode
from edged.gpu.tensorrt import installed
from provisioning.__main__ import main
from provisioning.build.process import run_child
from provisioning.build.tensorrt_maker import CHILD, probe
from provisioning.cut.heads import cut_at_heads
from provisioning.patch import patch
from provisioning.store import Store
from tests.handmade import ANCHORS, square_model, write_bundle
from tests.provisioning.build.rtx import child, require_built
from tests.provisioning.yolo_exports import FourHeads, WithDecode, exported

KNOWN = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
pytestmark = pytest.mark.skipif("rtx" not in installed(), reason="TensorRT for RTX is not installed")


@pytest.fixture(scope="module")
def plugin_run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Our plugin in the real parser and builder. They look for the library by a name that the wheel does not have."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "squares.onnx").write_bytes(square_model((64, 64)))
    cut = cut_at_heads(exported(WithDecode(FourHeads(classes=2)), input_wh=(128, 128)), names=("cat", "dog"))
    four = patch(
        onnx.load_from_string(cut.onnx),
        decode=GridDecode(cut.anchors, cut.strides),
        num_classes=2,
        prenms_score_threshold=0.001,
    )
    (folder / "four.onnx").write_bytes(four.SerializeToString())
    libraries = importlib.util.find_spec("tensorrt_rtx_libs")
    assert libraries is not None and libraries.origin is not None
    (folder / "libtensorrt_rtx.so").symlink_to(Path(libraries.origin).with_name("libtensorrt_rtx.so.1"))
    return child("plugin", folder, LD_LIBRARY_PATH=str(folder))


def test_plugin_is_parsed_and_built_by_the_real_builder(plugin_run: dict[str, dict[str, Any]]) -> None:
    require_built(plugin_run["fits"])
    calls = plugin_run["calls"]["calls"]
    fields = next(seen for name, seen in calls if name == "create_plugin")
    assert fields == {
        "max_stride": [32],
        "num_classes": [3],
        "anchors": [side for head in ANCHORS for anchor in head for side in anchor],
        "prenms_score_threshold": [pytest.approx(0.001)],
        "num_heads": [3],
    }
    order = list(dict.fromkeys(name for name, _ in calls))
    assert order == [
        "create_plugin", "get_output_data_types", "clone", "get_output_shapes", "supports_format_combination",
        "configure_plugin", "get_workspace_size", "get_fields_to_serialize",
    ]  # fmt: skip


def test_plugin_of_four_heads_is_built_by_the_real_builder(plugin_run: dict[str, dict[str, Any]]) -> None:
    require_built(plugin_run["four heads"])


def test_plugin_is_configured_for_the_batches_of_each_profile(plugin_run: dict[str, dict[str, Any]]) -> None:
    calls = plugin_run["calls"]["calls"]
    configured = [seen for name, seen in calls if name == "configure_plugin"]
    heads = [[24, 8, 8], [24, 4, 4], [24, 2, 2]]
    for seen, batches in zip(configured, ((1, 1, 1), (2, 2, 4)), strict=True):
        assert seen == [[[batch, *head] for batch in batches] for head in heads]
    assert [seen for name, seen in calls if name == "get_workspace_size"] == configured


@pytest.mark.parametrize(
    ("name", "said", "logged"),
    [
        ("missing attribute", "YoloLayer (YoloLayer_TRT)", "Attribute anchors not found in plugin node"),
        ("unknown operator", "YoloLayer (NoSuchLayer_TRT)", "Plugin not found, are the plugin name, version"),
        ("wrong classes", "gave no engine", "configurePluginV3 reported a non-zero return code: -1"),
    ],
)
def test_plugin_that_does_not_belong_is_refused(
    plugin_run: dict[str, dict[str, Any]], name: str, said: str, logged: str
) -> None:
    found = plugin_run[name]
    assert "bytes" not in found
    assert said in found["error"]
    assert logged in "\n".join(found["log"])


def test_plans_that_are_damaged_are_a_mismatch_and_a_missing_driver_is_not(tmp_path: Path) -> None:
    (tmp_path / "squares.onnx").write_bytes(square_model((64, 64)))
    said = child("plans", tmp_path)
    if Path("/dev/nvidiactl").exists():
        assert not said.pop("whole")["error"]
    else:
        whole = said.pop("whole")
        assert whole["kind"] == "DetectorError" and "update the NVIDIA driver" in whole["error"]
    del said["plan"]
    assert {name: each["kind"] for name, each in said.items()} == dict.fromkeys(said, "BundleMismatch")
    assert len(said) == 4
    for each in said.values():
        assert each["error"].startswith("TensorRT for RTX") and "does not load engine.plan: " in each["error"]
        assert each["error"].endswith("run: edged-provision build NAME")
    assert "malformed engine" in said["garbage"]["error"]


def test_probe_knows_what_it_builds_for() -> None:
    machine = probe("rtx")
    assert machine.portable and machine.typed and not machine.python_plugins
    assert machine.capabilities == KNOWN


def test_progress_arrives_while_the_child_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Bar:
        total: int | None = None
        n = 0

        def __init__(self, **_options: object) -> None: ...

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_exc: object) -> None: ...

        def set_description(self, text: str, *, refresh: bool) -> None:
            assert not refresh
            seen.append(text)

        def refresh(self) -> None: ...

    monkeypatch.setattr("provisioning.build.process.tqdm", Bar)
    bundle = write_bundle(tmp_path / "squares", input_wh=(64, 64))
    job = {
        "kind": "rtx", "model": str(bundle / MODEL), "folder": str(tmp_path), "precision": "fp32", "batch": [1, 1, 2],
        "workspace_mb": 256, "decode": "kernel", "device": "auto", "timing_cache": "", "capabilities": ["8.6"],
    }  # fmt: skip
    encoded = base64.b64encode(json.dumps(job).encode()).decode()
    result = run_child([*CHILD, "build", encoded], what="TensorRT for RTX")
    assert result["plan_bytes"] == (tmp_path / "engine.plan").stat().st_size
    assert "build: Building engine" in seen and len(seen) > 20


def test_names_that_only_a_device_can_try_exist() -> None:
    """In a process of its own, as the stubs of other tests stand in its way."""
    code = """
import tensorrt_rtx as trt
wanted = {
    "ICudaEngine": "create_runtime_config create_execution_context device_memory_size_v2",
    "IRuntimeConfig": "set_execution_context_allocation_strategy dynamic_shapes_kernel_specialization_strategy "
    "cuda_graph_strategy create_runtime_cache set_runtime_cache",
    "IRuntimeCache": "serialize deserialize",
    "IExecutionContext": "is_stream_capturable set_device_memory set_optimization_profile_async set_input_shape "
    "infer_shapes set_tensor_address execute_async_v3",
    "Runtime": "deserialize_cuda_engine get_engine_validity",
    "DynamicShapesKernelSpecializationStrategy": "EAGER",
    "CudaGraphStrategy": "DISABLED",
    "ExecutionContextAllocationStrategy": "USER_MANAGED",
    "EngineInvalidityDiagnostics": "VERSION_MISMATCH UNSUPPORTED_CC OLD_CUDA_DRIVER INSUFFICIENT_GPU_MEMORY",
}
print([f"{kind}.{name}" for kind, names in wanted.items() for name in names.split()
       if not hasattr(getattr(trt, kind), name)])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_build_command_adds_engines_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = Bundle.open(write_bundle(tmp_path / "squares", input_wh=(64, 64)))
    store = Store(tmp_path / "store")
    store.add(bundle.manifest, {MODEL: bundle.read(MODEL)})
    words = ["build", "squares", "--store", str(tmp_path / "store"), "--work", str(tmp_path / "work")]
    words += ["--tensorrt", "rtx"]
    assert main([*words, "--precision", "fp32", "--gpus", "all"]) == 0
    assert "built for TensorRT for RTX 1.7.1.116, SM 7.5, 8.0, 8.6, 8.9, 12.0, 12.1" in capsys.readouterr().out
    assert main([*words, "--precision", "fp32", "--gpus", "8.9,8.6"]) == 0
    engines = store.open("squares").manifest.engines
    assert [engine.capabilities for engine in engines] == [("8.6", "8.9"), KNOWN], "the one built last comes first"
    assert all(store.open("squares").read(engine.file) for engine in engines)
    assert main([*words, "--precision", "fp32", "--gpus", "all", "--batch", "1", "8", "8"]) == 0
    engines = store.open("squares").manifest.engines
    assert [(engine.capabilities, engine.batch) for engine in engines] == [(KNOWN, (1, 8, 8))], "it serves both"
    capsys.readouterr()
    assert main([*words, "--gpus", "9.0"]) == 78
    assert "builds for SM 7.5, 8.0, 8.6, 8.9, 12.0, 12.1; asked for was 9.0" in capsys.readouterr().err
    assert main(["show", "squares", "--store", str(tmp_path / "store")]) == 0
    assert "TensorRT for RTX 1.7.1.116, SM 7.5, 8.0" in capsys.readouterr().out


def test_build_command_with_frames_needs_a_gpu_that_runs_the_engine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("there is a GPU here")
    bundle = Bundle.open(write_bundle(tmp_path / "squares", input_wh=(64, 64)))
    store = Store(tmp_path / "store")
    store.add(bundle.manifest, {MODEL: bundle.read(MODEL)})
    words = ["build", "squares", "--store", str(tmp_path / "store"), "--tensorrt", "rtx", "--frames", "x", "--activate"]
    assert main(words) == 2
    assert "which no GPU here runs; leave it out" in capsys.readouterr().err
    assert not store.open("squares").manifest.engines


def test_build_command_warns_of_int8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = Bundle.open(write_bundle(tmp_path / "squares", input_wh=(64, 64)))
    store = Store(tmp_path / "store")
    store.add(bundle.manifest, {MODEL: bundle.read(MODEL)})
    words = ["build", "squares", "--store", str(tmp_path / "store"), "--tensorrt", "rtx", "--gpus", "8.6"]
    assert main([*words, "--precision", "int8"]) == 78  # never quantised
    said = capsys.readouterr().err
    assert "warning: TensorRT for RTX" in said and "holds no model.int8.onnx" in said
