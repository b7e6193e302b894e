"""TensorRT for RTX for the device that is here: its real builder, asked for a capability in place of a device."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edged.core.bundle import Bundle
from edged.core.errors import EdgedError
from edged.gpu.tensorrt import RTX, installed
from provisioning.build.tensorrt_build import CURRENT
from provisioning.build.tensorrt_maker import Machine, probe
from provisioning.store import Store
from tests.gpu.fill import fill
from tests.gpu.short_run import rtx
from tests.handmade import write_bundle

pytestmark = pytest.mark.skipif(RTX not in installed(), reason="TensorRT for RTX is not installed")


@pytest.fixture(scope="module")
def found() -> Machine:
    return probe(RTX)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    fill(write_bundle(tmp_path / "bundle"), tmp_path / "store", ())
    return Store(tmp_path / "store")


def on(found: Machine, capability: str) -> Machine:
    return dataclasses.replace(found, gpu="Card", compute_capability=capability)


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_engine_is_added_as_one_for_this_device(found: Machine, store: Store, tmp_path: Path, precision: str) -> None:
    """SM 9.0 is not promised; what was built, for something else here, is taken for it."""
    machine = on(found, "9.0")
    figures = rtx.examine(machine, precision, store, batch=(1, 2, 4), frames=None, work=tmp_path, target="8.6")
    assert not figures["promised"] and "refused" not in figures
    assert "Card, SM 9.0, not named by TensorRT for RTX" in figures["lines"][0]
    manifest = Bundle.open(tmp_path / "store" / precision).manifest
    (record,) = manifest.engines
    assert (record.kind, record.capabilities, record.precision, record.batch) == (RTX, ("9.0",), precision, (1, 2, 4))
    assert manifest.files[record.file].bytes == figures["plan_bytes"] > 10_000
    assert manifest.precision == precision


def test_device_that_the_builder_refuses_is_a_result(found: Machine, store: Store, tmp_path: Path) -> None:
    figures = rtx.examine(on(found, "9.0"), "fp16", store, batch=(1, 2, 4), frames=None, work=tmp_path, target="9.0")
    assert "Card, SM 9.0, not named" in figures["refused"] and "does not build for SM 9.0" in figures["refused"]


def test_device_that_was_promised_and_fails_is_a_failure(found: Machine, store: Store, tmp_path: Path) -> None:
    with pytest.raises(EdgedError, match=r"does not build for SM 9\.0"):
        rtx.examine(on(found, "8.6"), "fp16", store, batch=(1, 2, 4), frames=None, work=tmp_path, target="9.0")


def test_without_a_device_the_current_one_is_not_built_for(found: Machine, store: Store, tmp_path: Path) -> None:
    if found.gpu:
        pytest.skip("there is a GPU here")
    figures = rtx.examine(on(found, "9.0"), "fp16", store, batch=(1, 2, 4), frames=None, work=tmp_path, target=CURRENT)
    assert figures["refused"]


def test_command_says_that_there_is_no_device(found: Machine, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    if found.gpu:
        pytest.skip("there is a GPU here")
    assert rtx.main(["fp16", "--store", str(store.root)]) != 0
    assert capsys.readouterr() == ("", "this machine has no GPU that NVML knows\n")
