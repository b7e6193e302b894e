"""The engine's loader over a fake TensorRT of each version: what each offers is used, every refusal has its reason."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from edged.core.errors import BundleMismatch, DetectorError
from edged.gpu.protocols import TensorSpec
from tests.gpu.fake_tensorrt import SHAPES, FakeWorld, fake_tensorrt
from tests.gpu.host_gpu import HostGpu

Load = Callable[[FakeWorld], types.ModuleType]
STREAM = 1


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """The module under test over a world."""

    def load_module(world: FakeWorld) -> types.ModuleType:
        monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt(world))
        monkeypatch.delitem(sys.modules, "edged.gpu.engine", raising=False)
        module = importlib.import_module("edged.gpu.engine")
        monkeypatch.delitem(sys.modules, "edged.gpu.engine")
        return module

    return load_module


def open_engine(load: Load, world: FakeWorld, gpu: HostGpu | None = None) -> Any:
    device = gpu or HostGpu()
    device.make_stream()
    return load(world).TensorRtEngine(b"plan", device, where="engine.plan")


@pytest.mark.parametrize("version", ["8.5.3.1", "8.6.2", "10.0.1", "10.3.0", "11.4.1"])
def test_engine_describes_its_tensors(load: Load, version: str) -> None:
    engine = open_engine(load, FakeWorld(version=version, profiles=((1, 4),)))
    assert engine.tensors["images"] == TensorSpec((-1, 3, 64, 64), "float32", is_input=True)
    assert set(engine.tensors) == set(SHAPES)
    assert engine.max_batch == 4


@pytest.mark.parametrize("version", ["10.3.0", "11.4.1"])
def test_engine_contexts_share_scratch_and_profile(load: Load, version: str) -> None:
    world, gpu = FakeWorld(version=version), HostGpu()
    engine = open_engine(load, world, gpu)
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
    load: Load, version: str, contexts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a traceback does where a detector could not be made: they work in memory that goes next."""
    world, gpu = FakeWorld(version=version), HostGpu()
    engine = open_engine(load, world, gpu)
    held = [engine.make_context(batch, STREAM) for batch in (1, 2)]
    for context in held:
        context.bind({"images": 256})
        context.enqueue(STREAM)
    monkeypatch.setattr(gpu, "free", lambda _address: world.calls.append(("scratch_freed",)))
    engine.close()
    freed = [call[0] for call in world.calls if call[0].endswith("_freed")]
    assert freed == ["context_freed"] * contexts + ["scratch_freed"]


def test_engine_takes_the_tightest_profile(load: Load) -> None:
    world = FakeWorld(profiles=((1, 8), (1, 1), (2, 4)))
    engine = open_engine(load, world)
    for batch in (1, 3, 8):
        engine.make_context(batch, STREAM)
    assert [call[1] for call in world.calls if call[0] == "profile"] == [1, 2, 0]
    with pytest.raises(DetectorError, match="takes no batch of 9"):
        engine.make_context(9, STREAM)


def test_engine_before_10_with_a_profile_a_batch_has_a_context_a_batch(load: Load) -> None:
    world = FakeWorld(version="8.5.3.1", profiles=((1, 1), (2, 2), (3, 3)))
    engine = open_engine(load, world)
    assert all(engine.make_context(batch, STREAM).can_be_captured for batch in (1, 2, 3))
    assert [call[1] for call in world.calls if call[0] == "profile"] == [0, 1, 2]


def test_engine_before_10_with_one_profile_reshapes_one_context(load: Load) -> None:
    world = FakeWorld(version="8.6.2", profiles=((1, 4),))
    engine = open_engine(load, world)
    one, four = engine.make_context(1, STREAM), engine.make_context(4, STREAM)
    assert not one.can_be_captured and not four.can_be_captured
    for context in (one, four, four, one):
        context.bind({"images": 256})
        context.enqueue(STREAM)
    assert [call[1] for call in world.calls if call[0] == "execute"] == [1, 4, 4, 1]
    assert sum(call[0] == "create_context" for call in world.calls) == 1
    assert sum(call[0] == "shape" for call in world.calls) == 3


def test_engine_before_10_with_a_batch_of_one_only_is_captured(load: Load) -> None:
    engine = open_engine(load, FakeWorld(version="8.5.3.1", profiles=((1, 1),)))
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
def test_engine_every_refusal_is_an_error_with_its_reason(load: Load, call: str, message: str) -> None:
    engine = open_engine(load, FakeWorld(refuse={call}))
    with pytest.raises(DetectorError, match=message):  # noqa: PT012 - whichever step it is
        context = engine.make_context(2, STREAM)
        context.bind({"images": 256})
        context.enqueue(STREAM)


def test_engine_that_does_not_load_is_a_mismatch_with_the_logs_reason(load: Load) -> None:
    world = FakeWorld(refuse={"deserialize"}, log_line="The engine plan file is not compatible with this version")
    with pytest.raises(BundleMismatch, match=r"TensorRT 10\.3\.0 does not load engine\.plan: The engine plan.*build"):
        open_engine(load, world)


def test_engine_that_does_not_fit_into_memory_is_no_mismatch(load: Load) -> None:
    world = FakeWorld(refuse={"deserialize"}, log_line="Cuda failure: out of memory")
    with pytest.raises(DetectorError, match="out of memory; free device memory"):
        open_engine(load, world)


def test_engine_without_a_batch_of_one_is_refused(load: Load) -> None:
    with pytest.raises(BundleMismatch, match="takes no batch of 1"):
        open_engine(load, FakeWorld(profiles=((2, 4),)))


def test_engine_with_tensors_of_another_type_is_refused(load: Load) -> None:
    with pytest.raises(BundleMismatch, match="tensor images is INT8"):
        open_engine(load, FakeWorld(dtype="INT8"))


def test_log_warnings_reach_ours_and_errors_wait_for_their_failure(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    said = load(FakeWorld()).TensorRtLog()
    said.log(said.Severity.INFO, "chatter")
    said.log(said.Severity.WARNING, "a warning")
    for number in range(60):
        said.log(said.Severity.ERROR, str(number))
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == ["TensorRT: a warning"]
    assert len(said.tail) == 50
    assert said.reasons() == "57; 58; 59"
    assert said.reasons() == "it gave no reason"  # they were of another failure
