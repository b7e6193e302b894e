"""One code path over TensorRT's versions, seen through fakes that have only what their version has."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edged.core.errors import EdgedError
from tests.provisioning.build import fake_tensorrt

VERSIONS = ["8.5.3.1", "8.6.1.6", "9.1.0.4", "10.3.0", "10.13.3.9", "11.4.0.106"]
Load = Callable[..., tuple[types.ModuleType, Any]]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """The module under test on a fake of some version, and the fake."""

    def loaded(version: str, failure: str = "") -> tuple[types.ModuleType, Any]:
        fake = fake_tensorrt.make(version, failure)
        monkeypatch.setitem(sys.modules, "tensorrt", fake)
        monkeypatch.delitem(sys.modules, "provisioning.build.tensorrt_build", raising=False)
        return importlib.import_module("provisioning.build.tensorrt_build"), fake

    yield loaded
    sys.modules.pop("provisioning.build.tensorrt_build", None)


def build(
    module: types.ModuleType, *, precision: str = "int8", timing_cache: bytes = b""
) -> tuple[Any, Any, list[Any]]:
    order = module.Order(precision=precision, batch=(1, 2, 4), workspace_bytes=1 << 30, timing_cache=timing_cache)
    log, steps = module.Log(), []
    built = module.build(b"onnx", order, log, lambda *step: steps.append(step))
    return built, log, steps


@pytest.mark.parametrize("version", VERSIONS)
def test_build_gives_an_engine_on_every_version(load: Load, version: str) -> None:
    module, fake = load(version)
    built, _, _ = build(module)
    assert built.plan == b"plan"
    assert ("pool", "WORKSPACE", 1 << 30) in fake.calls
    profiles = [call[1] for call in fake.calls if call[0] == "profile"]
    if module.version() >= (10,):
        assert profiles == [("images", (1, 3, 64, 96), (2, 3, 64, 96), (4, 3, 64, 96))]
    else:  # one for each batch size, as contexts cannot share one
        assert profiles == [("images", *[(batch, 3, 64, 96)] * 3) for batch in (1, 2, 3, 4)]


def test_a_wide_batch_range_is_one_profile_on_every_version(load: Load) -> None:
    module, _ = load("8.6.1.6")
    assert module.profile_batches((1, 4, 16)) == [(1, 4, 16)]


@pytest.mark.parametrize(
    ("version", "flags"),
    [("8.5.3.1", 1), ("8.6.1.6", 1), ("9.1.0.4", 1), ("10.3.0", 1), ("10.13.3.9", 2), ("11.4.0.106", 0)],
)
def test_network_flags_are_taken_by_name(load: Load, version: str, flags: int) -> None:
    module, fake = load(version)
    build(module)
    assert ("network", flags) in fake.calls


@pytest.mark.parametrize(
    ("version", "precision", "expected"),
    [
        pytest.param("8.5.3.1", "fp32", [], id="8.5-fp32"),
        pytest.param("8.5.3.1", "fp16", ["FP16"], id="8.5-fp16"),
        pytest.param("10.3.0", "int8", ["FP16", "INT8"], id="10.3-int8"),
        pytest.param("10.13.3.9", "int8", [], id="10.13-typed"),
        pytest.param("11.4.0.106", "int8", [], id="11-has-no-flags"),
    ],
)
def test_precision_flags_only_where_networks_are_weakly_typed(
    load: Load, version: str, precision: str, expected: list[str]
) -> None:
    module, fake = load(version)
    build(module, precision=precision)
    assert [call[1] for call in fake.calls if call[0] == "flag"] == expected


def test_kernels_of_other_libraries_are_switched_off_where_there_are_any(load: Load) -> None:
    module, fake = load("8.6.1.6")
    build(module)
    assert ("tactics", 0b1000) in fake.calls
    module, fake = load("11.4.0.106")
    build(module)
    assert not [call for call in fake.calls if call[0] == "tactics"]


@pytest.mark.parametrize(("version", "told"), [("8.6.1.6", False), ("9.1.0.4", True), ("11.4.0.106", True)])
def test_progress_is_told_where_the_version_can(load: Load, version: str, told: bool) -> None:  # noqa: FBT001
    module, _ = load(version)
    _, _, steps = build(module)
    expected = [("Building engine", 0, 2), ("Building engine", 1, 2), ("Building engine", 2, 2)]
    assert steps == (expected if told else [])


def test_timing_cache_is_handed_on_and_replaced_when_refused(load: Load) -> None:
    module, _ = load("10.3.0")
    assert build(module, timing_cache=b"earlier")[0].timing_cache == b"earlier+"
    assert build(module, timing_cache=b"of another machine")[0].timing_cache == b"+"


@pytest.mark.parametrize(
    ("version", "said"),
    [
        pytest.param("8.6.1.6", "node 3: unsupported thing 0; node 3: unsupported thing 1", id="by-number"),
        pytest.param("10.3.0", r"/model.0/Conv \(Conv\): unsupported thing 0; /model.0/Conv", id="by-name"),
    ],
)
def test_every_parser_error_is_reported_by_node(load: Load, version: str, said: str) -> None:
    module, _ = load(version, "parse")
    with pytest.raises(EdgedError, match=said):
        build(module)


def test_log_keeps_errors_and_warnings_only_and_never_grows(load: Load) -> None:
    module, fake = load("10.3.0")
    log = module.Log()
    for number in range(200):
        log.log(fake.ILogger.Severity.ERROR, str(number))
        log.log(fake.ILogger.Severity.INFO, "chatter")
    assert list(log.lines) == [f"ERROR: {number}" for number in range(150, 200)]


@pytest.mark.parametrize("version", VERSIONS)
def test_abilities_by_version(load: Load, version: str) -> None:
    module, _ = load(version)
    numbers = module.version()
    assert numbers == tuple(int(part) for part in version.split(".")[:3])
    assert module.has_python_plugins() == (numbers >= (10, 0))
    assert module.is_strongly_typed() == (numbers >= (10, 12))
