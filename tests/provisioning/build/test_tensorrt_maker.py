"""The child process and every way in which it can end; TensorRT is a fake, the processes are real."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edged.core.errors import BundleMismatch, ConfigError, DetectorError, EdgedError, NotInstalled, UsageError
from edged.core.manifest import EngineRecord
from provisioning.build.causes import CAUSES, PORTABLE_CAUSES, explain
from provisioning.build.process import run_child
from provisioning.build.targets import targets
from provisioning.build.tensorrt_maker import Machine, TensorRtMaker, probe

FAKE = str(Path(__file__).with_name("fake_child.py"))


def child(version: str = "10.3.0", failure: str = "") -> list[str]:
    return [sys.executable, FAKE, version, failure]


def machine(version: str = "10.3.0") -> Machine:
    return Machine("tensorrt", version, "Fake GPU", "8.7", typed=False, python_plugins=version.startswith("1"))


def maker(folder: Path, *, failure: str = "", decode: str = "auto", version: str = "10.3.0") -> TensorRtMaker:
    return TensorRtMaker(
        machine(version), decode=decode, timing_caches=folder / "timing", child=child(version, failure)
    )


def order(folder: Path, made: TensorRtMaker) -> EngineRecord:
    (folder / "model.onnx").write_bytes(b"onnx")
    return made.build(folder / "model.onnx", folder, precision="int8", batch=(1, 1, 4), workspace_mb=64)


def test_probe_says_what_the_machine_has() -> None:
    assert probe("tensorrt", child=child("10.13.3.9")) == Machine(
        "tensorrt", "10.13.3.9", "Fake GPU", "8.7", typed=True, python_plugins=True
    )


def test_probe_without_tensorrt_says_so() -> None:
    with pytest.raises(NotInstalled, match="No module named 'tensorrt'"):
        probe("tensorrt", child=child(failure="missing"))


def test_build_leaves_engine_record_and_timing_cache(tmp_path: Path) -> None:
    record = order(tmp_path, maker(tmp_path))
    assert (tmp_path / "engine.plan").read_bytes() == b"plan"
    assert record == EngineRecord(
        file="engine-int8-fake-gpu.plan",
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


def test_a_model_of_finished_boxes_is_built_without_the_plugin(tmp_path: Path) -> None:
    made = maker(tmp_path)
    bare = made.without_plugin()
    assert (made.decode, bare.decode, bare.facts["plugin"]) == ("plugin", "kernel", "")
    record = order(tmp_path, bare)
    assert (record.decode, record.plugin_version) == ("kernel", "")
    with pytest.raises(UsageError, match=r'decode = "plugin": this model gives finished boxes.*"auto" or "kernel"'):
        maker(tmp_path, decode="plugin").without_plugin()


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


def test_a_build_does_not_outlive_the_one_who_asked_for_it(tmp_path: Path) -> None:
    """Killed, not stopped: nothing of ours runs any more that could end it."""
    pid_file = tmp_path / "pid"
    waits = f"import os, pathlib, time; pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid())); time.sleep(60)"
    child_code = (
        f"from provisioning.build import child; child.probe = lambda *_: exec({waits!r}); child.main(['probe'])"
    )
    asker = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child_code!r}])"
    process = subprocess.Popen([sys.executable, "-c", asker], cwd=Path(__file__).parents[3])
    deadline = time.monotonic() + 30
    while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    status = Path(f"/proc/{pid_file.read_text()}/status")
    process.kill()
    process.wait()
    while status.exists() and "zombie" not in status.read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not status.exists() or "zombie" in status.read_text()


def test_run_child_that_cannot_start_is_a_message() -> None:
    with pytest.raises(DetectorError, match="cannot be started"):
        run_child(["/nonexistent/python"], what="it")


@pytest.mark.parametrize("kind", [BundleMismatch, ConfigError, NotInstalled, UsageError])
def test_run_child_hands_on_what_is_no_failure_of_tensorrt(kind: type[EdgedError]) -> None:
    event = json.dumps({"error": "device 5 is not a GPU", "log": [], "kind": kind.__name__})
    with pytest.raises(kind, match=r"^device 5 is not a GPU$") as caught:
        run_child([sys.executable, "-c", f"print({event!r})"], what="it")
    assert caught.value.exit_code in {2, 78}


def test_run_child_ignores_what_libraries_print() -> None:
    hello = "import sys; sys.stdout.buffer.write(b'[TRT] \\xff hello\\n'); sys.stdout.flush()"
    code = f'{hello}; print(\'{{"result": {{"a": 1}}}}\')'
    assert run_child([sys.executable, "-c", code], what="it") == {"a": 1}


def test_every_known_cause_has_a_remedy_and_no_success_is_explained() -> None:
    assert all(cause.meaning and cause.remedy for cause in CAUSES)
    assert explain(["[I] Engine generation completed in 12 seconds."]) == ("", "")


KNOWN = ("7.5", "8.6", "8.9", "12.0")


def rtx(gpu: str = "", capability: str = "") -> Machine:
    return Machine(
        kind="rtx",
        tensorrt="1.7.1.116",
        gpu=gpu,
        compute_capability=capability,
        typed=True,
        python_plugins=False,
        portable=True,
        capabilities=KNOWN,
        no_gpu="" if gpu else "no driver",
    )


def test_probe_of_rtx_needs_no_gpu_and_says_what_it_builds_for() -> None:
    assert probe("rtx", child=child("rtx-1.7.1.116")) == rtx()
    assert probe("rtx", "8.9", child=child("rtx-1.7.1.116")) == rtx("Fake RTX", "8.9")


@pytest.mark.parametrize(
    ("machine_", "wanted", "expected"),
    [
        pytest.param(rtx(), (), KNOWN, id="no-card"),
        pytest.param(rtx("RTX 4060", "8.9"), (), ("8.9",), id="this-card"),
        pytest.param(rtx("RTX 4060", "8.9"), ("all",), KNOWN, id="all"),
        pytest.param(rtx("RTX 4060", "8.9"), ("12.0", "this", "8.6"), ("8.6", "8.9", "12.0"), id="named"),
        pytest.param(machine(), (), (), id="tensorrt"),
        pytest.param(machine(), ("this",), (), id="tensorrt-this"),
    ],
)
def test_targets(machine_: Machine, wanted: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert targets(machine_, wanted) == expected


@pytest.mark.parametrize(
    ("machine_", "wanted", "error", "said"),
    [
        (rtx("H100", "9.0"), (), BundleMismatch, r"builds for SM 7\.5.*; H100 is SM 9\.0; take TensorRT itself"),
        (rtx(), ("8.6", "9.0"), BundleMismatch, r"builds for SM 7\.5.*; asked for was 9\.0; name some of these"),
        (
            rtx(),
            ("this",),
            UsageError,
            r"has no GPU to build for \(no driver\); name compute capabilities",
        ),
        (machine(), ("8.6",), UsageError, r"TensorRT 10\.3\.0 builds for the GPU of this machine only, not for 8\.6"),
    ],
)
def test_targets_that_cannot_be(machine_: Machine, wanted: tuple[str, ...], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        targets(machine_, wanted)


def rtx_maker(folder: Path, *, failure: str = "", machine_: Machine | None = None) -> TensorRtMaker:
    return TensorRtMaker(
        machine_ or rtx(),
        decode="auto",
        timing_caches=folder / "timing",
        targets=("8.6", "8.9"),
        child=child("rtx-1.7.1.116", failure),
    )


def test_build_of_a_portable_engine_is_of_no_device_and_keeps_no_timing_cache(tmp_path: Path) -> None:
    made = rtx_maker(tmp_path)
    assert order(tmp_path, made) == EngineRecord(
        file="engine-int8-rtx-sm86-89.plan",
        tensorrt="1.7.1.116",
        gpu="",
        compute_capability="",
        precision="int8",
        decode="kernel",
        plugin_version="",
        batch=(1, 1, 4),
        kind="rtx",
        capabilities=("8.6", "8.9"),
    )
    assert not (tmp_path / "timing").exists()
    assert "INT8" in made.warning("int8") and not made.warning("fp16")
    assert not maker(tmp_path).warning("int8")


def test_what_a_portable_engine_depends_on_is_not_the_card_that_is_here(tmp_path: Path) -> None:
    without, with_card = rtx_maker(tmp_path), rtx_maker(tmp_path, machine_=rtx("RTX 4060", "8.9"))
    assert without.facts == with_card.facts
    assert without.facts["targets"] == "8.6, 8.9"


@pytest.mark.parametrize(("gpu", "capability", "runs"), [("", "", False), ("A", "8.6", True), ("B", "12.0", False)])
def test_a_portable_engine_runs_here_where_its_card_is(
    tmp_path: Path,
    gpu: str,
    capability: str,
    runs: bool,  # noqa: FBT001
) -> None:
    assert rtx_maker(tmp_path, machine_=rtx(gpu, capability)).runs_here == runs
    assert maker(tmp_path).runs_here


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        pytest.param("memory", "needs more memory than workspace_mb allows.*raise workspace_mb", id="memory"),
        pytest.param("parse", r"TensorRT for RTX 1\.7\.1\.116 cannot parse the model: /model.0/Conv", id="parser"),
        pytest.param("killed", "was killed while it worked", id="killed"),
    ],
)
def test_build_of_a_portable_engine_that_fails_says_why(tmp_path: Path, failure: str, said: str) -> None:
    with pytest.raises(DetectorError, match=f"(?s){said}"):
        order(tmp_path, rtx_maker(tmp_path, failure=failure))


def test_a_missing_driver_is_never_the_reason_of_a_build_that_needs_none(tmp_path: Path) -> None:
    with pytest.raises(DetectorError) as caught:
        order(tmp_path, rtx_maker(tmp_path, failure="driver"))
    assert "gave no engine\n" in str(caught.value) and "newer driver" not in str(caught.value)
    assert explain(["ERROR: CUDA driver version is insufficient"], PORTABLE_CAUSES) == ("", "")
