"""The engine's loader over a fake TensorRT of each version: what each offers is used, every refusal has its reason."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from edged.core.errors import BundleMismatch, DetectorError
from edged.gpu.engine import TensorRtEngine
from edged.gpu.kept import keep
from edged.gpu.protocols import TensorSpec
from edged.gpu.runtime_cache import RuntimeCache
from edged.gpu.tensorrt import log_of
from tests.gpu.fake_tensorrt import SHAPES, FakeWorld, fake_tensorrt
from tests.gpu.host_gpu import HostGpu

STREAM = 1


def open_engine(world: FakeWorld, gpu: HostGpu | None = None, *, cache: RuntimeCache | None = None) -> TensorRtEngine:
    device = gpu or HostGpu()
    device.make_stream()
    return TensorRtEngine(fake_tensorrt(world), b"plan", device, where="engine.plan", cache=cache)


@pytest.mark.parametrize("version", ["8.5.3.1", "8.6.2", "10.0.1", "10.3.0", "11.4.1"])
def test_engine_describes_its_tensors(version: str) -> None:
    engine = open_engine(FakeWorld(version=version, profiles=((1, 4),)))
    assert engine.tensors["images"] == TensorSpec((-1, 3, 64, 64), "float32", is_input=True)
    assert set(engine.tensors) == set(SHAPES)
    assert engine.max_batch == 4


@pytest.mark.parametrize("version", ["10.3.0", "11.4.1"])
def test_engine_contexts_share_scratch_and_profile(version: str) -> None:
    world, gpu = FakeWorld(version=version), HostGpu()
    engine = open_engine(world, gpu)
    contexts = [engine.make_context(batch, STREAM) for batch in (1, 2, 4)]
    assert all(context.can_be_captured for context in contexts)
    given = {call[1:] for call in world.calls if call[0] == "set_device_memory"}
    assert len(given) == 1 and given.pop()[1] == 4096
    for context in contexts:
        context.enqueue(STREAM)
    assert [call for call in world.calls if call[0] == "execute"] == [("execute", n, STREAM) for n in (1, 2, 4)]
    engine.close()
    engine.close()
    assert gpu.live_blocks == 0


@pytest.mark.parametrize(("version", "contexts"), [("8.6.2", 1), ("10.3.0", 2)])
def test_engine_closed_frees_contexts_that_somebody_still_holds(
    version: str, contexts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a traceback does where a detector could not be made: they work in memory that goes next."""
    world, gpu = FakeWorld(version=version), HostGpu()
    engine = open_engine(world, gpu)
    held = [engine.make_context(batch, STREAM) for batch in (1, 2)]
    for context in held:
        context.bind({"images": 256})
        context.enqueue(STREAM)
    monkeypatch.setattr(gpu, "free", lambda _address: world.calls.append(("scratch_freed",)))
    engine.close()
    freed = [call[0] for call in world.calls if call[0].endswith("_freed")]
    assert freed == ["context_freed"] * contexts + ["scratch_freed"]


def test_engine_takes_the_tightest_profile() -> None:
    world = FakeWorld(profiles=((1, 8), (1, 1), (2, 4)))
    engine = open_engine(world)
    for batch in (1, 3, 8):
        engine.make_context(batch, STREAM)
    assert [call[1] for call in world.calls if call[0] == "profile"] == [1, 2, 0]
    with pytest.raises(DetectorError, match="takes no batch of 9"):
        engine.make_context(9, STREAM)


def test_engine_before_10_with_a_profile_a_batch_has_a_context_a_batch() -> None:
    world = FakeWorld(version="8.5.3.1", profiles=((1, 1), (2, 2), (3, 3)))
    engine = open_engine(world)
    assert all(engine.make_context(batch, STREAM).can_be_captured for batch in (1, 2, 3))
    assert [call[1] for call in world.calls if call[0] == "profile"] == [0, 1, 2]


def test_engine_before_10_with_one_profile_reshapes_one_context() -> None:
    world = FakeWorld(version="8.6.2", profiles=((1, 4),))
    engine = open_engine(world)
    one, four = engine.make_context(1, STREAM), engine.make_context(4, STREAM)
    assert not one.can_be_captured and not four.can_be_captured
    for context in (one, four, four, one):
        context.bind({"images": 256})
        context.enqueue(STREAM)
    assert [call[1] for call in world.calls if call[0] == "execute"] == [1, 4, 4, 1]
    assert sum(call[0] == "create_context" for call in world.calls) == 1
    assert sum(call[0] == "shape" for call in world.calls) == 3


def test_engine_before_10_with_a_batch_of_one_only_is_captured() -> None:
    engine = open_engine(FakeWorld(version="8.5.3.1", profiles=((1, 1),)))
    assert engine.make_context(1, STREAM).can_be_captured


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("create_context", "made no execution context: reason from the log"),
        ("profile", "refused optimisation profile 0: reason from the log"),
        ("shape", r"refused the shape \[2, 3, 64, 64\] for images: reason from the log"),
        ("infer_shapes", "lacks a shape for images"),
        ("address", "refused the address of images: reason from the log"),
        ("execute", "could not enqueue the network: reason from the log"),
    ],
)
def test_engine_every_refusal_is_an_error_with_its_reason(call: str, message: str) -> None:
    engine = open_engine(FakeWorld(refuse={call}))
    with pytest.raises(DetectorError, match=message):  # noqa: PT012 - whichever step it is
        context = engine.make_context(2, STREAM)
        context.bind({"images": 256})
        context.enqueue(STREAM)


def test_engine_that_does_not_load_is_a_mismatch_with_the_logs_reason() -> None:
    world = FakeWorld(refuse={"deserialize"}, log_line="The engine plan file is not compatible with this version")
    with pytest.raises(BundleMismatch, match=r"TensorRT 10\.3\.0 does not load engine\.plan: The engine plan.*build"):
        open_engine(world)


def test_engine_that_does_not_fit_into_memory_is_no_mismatch() -> None:
    world = FakeWorld(refuse={"deserialize"}, log_line="Cuda failure: out of memory")
    with pytest.raises(DetectorError, match="out of memory; free device memory"):
        open_engine(world)


def test_engine_without_a_batch_of_one_is_refused() -> None:
    with pytest.raises(BundleMismatch, match="takes no batch of 1"):
        open_engine(FakeWorld(profiles=((2, 4),)))


def test_engine_with_tensors_of_another_type_is_refused() -> None:
    with pytest.raises(BundleMismatch, match="tensor images is INT8"):
        open_engine(FakeWorld(dtype="INT8"))


def test_log_warnings_reach_ours_and_errors_wait_for_their_failure(caplog: pytest.LogCaptureFixture) -> None:
    said: Any = log_of(fake_tensorrt(FakeWorld()))
    said.log(said.Severity.INFO, "chatter")
    said.log(said.Severity.WARNING, "a warning")
    for number in range(60):
        said.log(said.Severity.ERROR, str(number))
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == ["TensorRT: a warning"]
    assert len(said.tail) == 50
    assert said.reasons() == "57; 58; 59"
    assert said.reasons() == "it gave no reason"  # they were of another failure


def rtx_world(**changes: Any) -> FakeWorld:
    return FakeWorld(**{"kind": "rtx", "version": "1.7.1.116", "profiles": ((1, 1), (2, 4)), **changes})


def run_all(engine: TensorRtEngine) -> None:
    for batch in range(1, engine.max_batch + 1):
        context = engine.make_context(batch, STREAM)
        context.bind({"images": 256})
        context.enqueue(STREAM)


def test_rtx_contexts_work_in_our_memory_with_settled_kernels_and_no_graphs_of_their_own(tmp_path: Path) -> None:
    world = rtx_world()
    engine = open_engine(world, cache=RuntimeCache(tmp_path / "kernels.bin"))
    context = engine.make_context(1, STREAM)
    config = next(call[1] for call in world.calls if call[0] == "configured")
    assert config["strategy"] == "USER_MANAGED"
    assert config["dynamic_shapes_kernel_specialization_strategy"] == "EAGER"
    assert config["cuda_graph_strategy"] == "DISABLED"
    assert any(call[0] == "set_device_memory" for call in world.calls)
    assert context.can_be_captured
    world.capturable = False
    assert not context.can_be_captured


def test_rtx_kernels_are_kept_for_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "rtx" / "kernels.bin"
    world = rtx_world()
    engine = open_engine(world, cache=RuntimeCache(path))
    run_all(engine)
    engine.keep_kernels()
    engine.close()
    kept = path.read_bytes()
    assert kept.endswith(b"kernels of 4")
    again = rtx_world()
    second = open_engine(again, cache=RuntimeCache(path))
    second.make_context(1, STREAM)
    config = next(call[1] for call in again.calls if call[0] == "configured")
    assert config["cache"].content == b"kernels of 4"
    path.unlink()
    second.keep_kernels()
    assert not path.exists(), "nothing new was in it"


@pytest.mark.parametrize("content", ["torn", "of another driver"])
def test_rtx_kernels_that_cannot_be_used_are_compiled_again(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "kernels.bin"
    if content == "torn":
        path.write_bytes(b"x" * 100)
    else:
        keep(path, b"of another driver")
    with caplog.at_level(logging.INFO):
        engine = open_engine(rtx_world(), cache=RuntimeCache(path))
    assert "again" in caplog.text
    run_all(engine)
    engine.keep_kernels()
    assert path.read_bytes().endswith(b"kernels of 4")


def test_rtx_kernels_are_kept_by_engine_version_and_device() -> None:
    one, other = fake_tensorrt(rtx_world()), fake_tensorrt(rtx_world(version="1.8.0.1"))
    paths = [
        RuntimeCache.of(plan, tensorrt, device)._path
        for plan, tensorrt, device in ((b"a", one, "A"), (b"b", one, "A"), (b"a", other, "A"), (b"a", one, "B"))
    ]
    assert len(set(paths)) == 4
    assert RuntimeCache.of(b"a", one, "A")._path == paths[0]


@pytest.mark.parametrize(
    ("flags", "error", "words"),
    [
        (1 + 2, BundleMismatch, "version mismatch, unsupported cc: reason from the log; run: edged-provision build"),
        (32, BundleMismatch, "malformed engine: reason from the log"),
        (16, DetectorError, "insufficient gpu memory: reason from the log; free device memory"),
        (0, BundleMismatch, "engine.plan: reason from the log"),
    ],
)
def test_rtx_engine_that_does_not_load_says_what_is_wrong_with_it(
    flags: int, error: type[Exception], words: str
) -> None:
    with pytest.raises(error) as caught:
        open_engine(rtx_world(refuse={"deserialize"}, invalidity=flags))
    assert "TensorRT for RTX 1.7.1.116 does not load engine.plan" in str(caught.value)
    assert words in str(caught.value)


def test_rtx_engine_closed_lets_go_of_its_configuration_before_the_scratch_memory(tmp_path: Path) -> None:
    world, gpu = rtx_world(), HostGpu()
    cache = RuntimeCache(tmp_path / "kernels.bin")
    engine = open_engine(world, gpu, cache=cache)
    run_all(engine)
    engine.close()
    assert engine._config is None and cache._cache is None
    assert gpu.live_blocks == 0
    cache.keep()  # nothing is left to keep
    assert not (tmp_path / "kernels.bin").exists()


def test_rtx_runtime_cache_that_is_refused_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match="does not take a runtime cache"):
        open_engine(rtx_world(refuse={"set_runtime_cache"}), cache=RuntimeCache(tmp_path / "kernels.bin"))
