"""The child process and every way in which it can end; TensorRT is a fake, the processes are real."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edged.core.errors import DetectorError, UsageError
from edged.core.manifest import EngineRecord
from provisioning.build.causes import CAUSES, explain
from provisioning.build.tensorrt_maker import Machine, TensorRtMaker, probe, run_child

FAKE = str(Path(__file__).with_name("fake_child.py"))


def child(version: str = "10.3.0", failure: str = "") -> list[str]:
    return [sys.executable, FAKE, version, failure]


def machine(version: str = "10.3.0") -> Machine:
    return Machine(version, "Fake GPU", "8.7", typed=False, python_plugins=version.startswith("1"))


def maker(folder: Path, *, failure: str = "", decode: str = "auto", version: str = "10.3.0") -> TensorRtMaker:
    return TensorRtMaker(
        machine(version), decode=decode, timing_caches=folder / "timing", child=child(version, failure)
    )


def order(folder: Path, made: TensorRtMaker) -> EngineRecord:
    (folder / "model.onnx").write_bytes(b"onnx")
    return made.build(folder / "model.onnx", folder, precision="int8", batch=(1, 1, 4), workspace_mb=64)


def test_probe_says_what_the_machine_has() -> None:
    assert probe(child=child("10.13.3.9")) == Machine("10.13.3.9", "Fake GPU", "8.7", typed=True, python_plugins=True)


def test_probe_without_tensorrt_says_so() -> None:
    with pytest.raises(DetectorError, match="No module named 'tensorrt'"):
        probe(child=child(failure="missing"))


def test_build_leaves_engine_record_and_timing_cache(tmp_path: Path) -> None:
    record = order(tmp_path, maker(tmp_path))
    assert (tmp_path / "engine.plan").read_bytes() == b"plan"
    assert record == EngineRecord(
        file="engine.plan",
        tensorrt="10.3.0",
        gpu="Fake GPU",
        compute_capability="8.7",
        precision="int8",
        decode="plugin",
        plugin_version="1",
        batch=(1, 1, 4),
    )
    kept = tmp_path / "timing" / "timing-10.3.0-sm8.7.cache"
    assert kept.read_bytes() == b"+"
    order(tmp_path, maker(tmp_path))
    assert kept.read_bytes() == b"++"  # the second build started from the first one's


@pytest.mark.parametrize(
    ("decode", "version", "expected"),
    [("auto", "10.3.0", "plugin"), ("auto", "8.6.1", "kernel"), ("kernel", "10.3.0", "kernel")],
)
def test_decode_follows_what_the_version_can(tmp_path: Path, decode: str, version: str, expected: str) -> None:
    made = maker(tmp_path, decode=decode, version=version)
    assert made.decode == expected
    assert made.facts["plugin"] == ("1" if expected == "plugin" else "")


def test_plugin_asked_of_an_old_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"8\.6\.1 takes no plugins"):
        maker(tmp_path, decode="plugin", version="8.6.1")


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        pytest.param("memory", "device memory is short.*\n.*OutOfMemory.*\n.*lower workspace_mb", id="device-memory"),
        pytest.param("resource", "libnvinfer_builder_resource is missing", id="resource-library"),
        pytest.param("none", "no kernel fits into the workspace", id="no-tactic"),
        pytest.param("driver", "made for another CUDA", id="wrong-cuda"),
        pytest.param("nvml", "NVML cannot be used.*container", id="nvml"),
        pytest.param("builder", "finds no CUDA driver or no device", id="no-driver"),
        pytest.param("parse", r"cannot parse the model: /model.0/Conv \(Conv\)", id="parser"),
        pytest.param("raises", "the fake was told to raise", id="raises"),
        pytest.param("killed", "was killed while it worked, most likely because this machine ran out", id="killed"),
        pytest.param("segfault", r"crashed \(SIGSEGV\)", id="segfault"),
        pytest.param("silent", "ended with 0 without a result", id="silent"),
        pytest.param("printed", "ended with 3.*libnvinfer_builder_resource is missing", id="native-message"),
    ],
)
def test_build_that_fails_says_why(tmp_path: Path, failure: str, said: str) -> None:
    with pytest.raises(DetectorError, match=f"(?s){said}"):
        order(tmp_path, maker(tmp_path, failure=failure))
    assert not (tmp_path / "engine.plan").exists()


def test_log_tail_is_in_the_message(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match="WARNING: a warning before it\n    ERROR: Could not find any impl"):
        order(tmp_path, maker(tmp_path, failure="none"))


def test_run_child_that_hangs_is_ended() -> None:
    with pytest.raises(DetectorError, match=r"no answer within 0\.3 s"):
        run_child([sys.executable, "-c", "import time; time.sleep(60)"], what="it", timeout_s=0.3)


def test_run_child_that_cannot_start_is_a_message() -> None:
    with pytest.raises(DetectorError, match="cannot be started"):
        run_child(["/nonexistent/python"], what="it")


def test_run_child_ignores_what_libraries_print() -> None:
    hello = "import sys; sys.stdout.buffer.write(b'[TRT] \\xff hello\\n'); sys.stdout.flush()"
    code = f'{hello}; print(\'{{"result": {{"a": 1}}}}\')'
    assert run_child([sys.executable, "-c", code], what="it") == {"a": 1}


def test_every_known_cause_has_a_remedy_and_no_success_is_explained() -> None:
    assert all(cause.meaning and cause.remedy for cause in CAUSES)
    assert explain(["[I] Engine generation completed in 12 seconds."]) == ("", "")
