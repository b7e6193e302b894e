"""One code path over TensorRT's versions, seen through fakes that have only what their version has."""

from __future__ import annotations

from typing import Any

import pytest

from edged.core.errors import EdgedError
from edged.gpu.tensorrt import TensorRt
from provisioning.build.log import BuildLog
from provisioning.build.tensorrt_build import Built, Order, profile_batches
from provisioning.build.tensorrt_build import build as build_engine
from tests.provisioning.build import fake_tensorrt

VERSIONS = ["8.5.3.1", "8.6.1.6", "9.1.0.4", "10.3.0", "10.13.3.9", "11.4.0.106"]
RTX = "rtx-1.7.1.116"


def load(version: str, failure: str = "") -> tuple[TensorRt, Any]:
    """A fake of some version, and its module."""
    fake = fake_tensorrt.make(version.removeprefix("rtx-"), failure, rtx=version.startswith("rtx-"))
    return TensorRt("rtx" if version.startswith("rtx-") else "tensorrt", fake), fake


def build(
    tensorrt: TensorRt,
    *,
    precision: str = "int8",
    timing_cache: bytes = b"",
    batch: tuple[int, int, int] = (1, 2, 4),
    capabilities: tuple[str, ...] = (),
) -> tuple[Built, BuildLog, list[Any]]:
    order = Order(precision, batch, 1 << 30, timing_cache, capabilities)
    log, steps = BuildLog(), list[Any]()
    built = build_engine(tensorrt, b"onnx", order, log, lambda *step: steps.append(step))
    return built, log, steps


@pytest.mark.parametrize("version", VERSIONS)
def test_build_gives_an_engine_on_every_version(version: str) -> None:
    module, fake = load(version)
    built, _, _ = build(module)
    assert built.plan == b"plan"
    assert ("pool", "WORKSPACE", 1 << 30) in fake.calls
    profiles = [call[1] for call in fake.calls if call[0] == "profile"]
    if module.numbers >= (10,):  # a single frame has one of its own, as kernels are chosen for the optimal batch
        assert profiles == [
            ("images", (1, 3, 64, 96), (1, 3, 64, 96), (1, 3, 64, 96)),
            ("images", (2, 3, 64, 96), (2, 3, 64, 96), (4, 3, 64, 96)),
        ]
    else:  # one for each batch size, as contexts cannot share one
        assert profiles == [("images", *[(batch, 3, 64, 96)] * 3) for batch in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("version", "batch", "profiles"),
    [
        ("8.6.1.6", (1, 4, 16), [(1, 4, 16)]),
        ("8.6.1.6", (1, 1, 2), [(1, 1, 1), (2, 2, 2)]),
        ("10.3.0", (1, 4, 16), [(1, 1, 1), (2, 4, 16)]),
        ("10.3.0", (1, 1, 4), [(1, 1, 1), (2, 2, 4)]),
        ("10.3.0", (1, 1, 1), [(1, 1, 1)]),
        ("10.3.0", (4, 4, 8), [(4, 4, 8)]),
        (RTX, (1, 8, 8), [(1, 1, 1), (2, 8, 8)]),
    ],
)
def test_profiles(version: str, batch: tuple[int, int, int], profiles: list[tuple[int, int, int]]) -> None:
    assert profile_batches(load(version)[0], batch) == profiles


@pytest.mark.parametrize(
    ("version", "flags"),
    [("8.5.3.1", 1), ("8.6.1.6", 1), ("9.1.0.4", 1), ("10.3.0", 1), ("10.13.3.9", 2), ("11.4.0.106", 0)],
)
def test_network_flags_are_taken_by_name(version: str, flags: int) -> None:
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
    version: str, precision: str, expected: list[str]
) -> None:
    module, fake = load(version)
    build(module, precision=precision)
    assert [call[1] for call in fake.calls if call[0] == "flag"] == expected


def test_kernels_of_other_libraries_are_switched_off_where_there_are_any() -> None:
    module, fake = load("8.6.1.6")
    build(module)
    assert ("tactics", 0b1000) in fake.calls
    module, fake = load("11.4.0.106")
    build(module)
    assert not [call for call in fake.calls if call[0] == "tactics"]


@pytest.mark.parametrize(("version", "told"), [("8.6.1.6", False), ("9.1.0.4", True), ("11.4.0.106", True)])
def test_progress_is_told_where_the_version_can(version: str, told: bool) -> None:  # noqa: FBT001
    module, _ = load(version)
    _, _, steps = build(module)
    expected = [("Building engine", 0, 2), ("Building engine", 1, 2), ("Building engine", 2, 2)]
    assert steps == (expected if told else [])


def test_timing_cache_is_handed_on_and_replaced_when_refused() -> None:
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
def test_every_parser_error_is_reported_by_node(version: str, said: str) -> None:
    module, _ = load(version, "parse")
    with pytest.raises(EdgedError, match=said):
        build(module)


def test_log_keeps_errors_and_warnings_only_and_never_grows() -> None:
    _, fake = load("10.3.0")
    log = BuildLog()
    native = log.attached(fake)
    for number in range(200):
        native.log(fake.ILogger.Severity.ERROR, str(number))
        native.log(fake.ILogger.Severity.INFO, "chatter")
    assert log.lines == [f"ERROR: {number}" for number in range(150, 200)]


def test_log_keeps_an_error_through_a_flood_of_warnings() -> None:
    """A build of INT8 with FP16 gives more than a hundred."""
    _, fake = load(RTX)
    log = BuildLog()
    native = log.attached(fake)
    native.log(fake.ILogger.Severity.ERROR, "the reason")
    for number in range(114):
        native.log(fake.ILogger.Severity.WARNING, str(number))
    assert log.lines[0] == "ERROR: the reason"
    assert log.lines[-1] == "WARNING: 113" and len(log.lines) == 51


def test_portable_engine_is_built_for_what_was_asked_without_a_timing_cache() -> None:
    tensorrt, fake = load(RTX)
    built, _, _ = build(tensorrt, capabilities=("8.6", "12.0"), timing_cache=b"earlier")
    assert built == Built(b"plan", b"")
    assert [call[1:] for call in fake.calls if call[0] == "capability"] == [("SM86", 0), ("SM120", 1)]
    assert ("flag", "REQUIRE_USER_ALLOCATION") in fake.calls
    assert ("network", 0) in fake.calls
    assert not [call for call in fake.calls if call[0] == "cache"]


def test_portable_engine_for_the_device_that_is_here() -> None:
    tensorrt, fake = load(RTX)
    build(tensorrt, capabilities=("current",))
    assert [call[1:] for call in fake.calls if call[0] == "capability"] == [("CURRENT", 0)]


@pytest.mark.parametrize("failure", ["", "capability"])
def test_portable_engine_for_what_it_does_not_know_is_refused(failure: str) -> None:
    tensorrt, _ = load(RTX, failure)
    with pytest.raises(EdgedError, match=r"TensorRT for RTX 1\.7\.1\.116 does not build for SM (9\.0|8\.6)"):
        build(tensorrt, capabilities=("8.6" if failure else "9.0",))
