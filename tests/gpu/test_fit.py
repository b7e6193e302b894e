"""An engine of another machine is refused with what it was built for, what this is, and the command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edged.core.bundle import Bundle
from edged.core.errors import BundleMismatch
from edged.core.manifest import EngineRecord, Manifest
from edged.gpu.fit import Machine, fitting, require_engine
from tests.handmade import write_bundle

HERE = Machine("10.3.0", "Orin", "8.7")
ENGINE = EngineRecord(
    file="engine.plan",
    tensorrt="10.3.0",
    gpu="Orin",
    compute_capability="8.7",
    precision="fp16",
    decode="plugin",
    plugin_version="1",
    batch=(1, 4, 4),
)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return Bundle.open(write_bundle(tmp_path / "bundle")).manifest


def test_fitting_engine_of_this_machine() -> None:
    other = replace(ENGINE, gpu="Xavier", compute_capability="7.2")
    assert fitting((other, ENGINE), HERE) is ENGINE


@pytest.mark.parametrize(
    ("built", "words"),
    [
        pytest.param(replace(ENGINE, tensorrt="10.7.0"), "built for TensorRT 10.7.0 on Orin, SM 8.7", id="tensorrt"),
        pytest.param(replace(ENGINE, compute_capability="7.2"), "SM 7.2", id="capability"),
        pytest.param(replace(ENGINE, gpu="AGX Orin"), "on AGX Orin", id="name"),
        pytest.param(replace(ENGINE, plugin_version="0"), "YoloLayer_TRT version 0, this edged has 1", id="plugin"),
    ],
)
def test_fitting_mismatch_says_built_for_running_on_and_the_command(built: EngineRecord, words: str) -> None:
    with pytest.raises(BundleMismatch) as caught:
        fitting((built,), HERE)
    message = str(caught.value)
    assert words in message
    assert "running on TensorRT 10.3.0 on Orin, SM 8.7" in message and "edged-provision build" in message
    assert caught.value.exit_code == 78


def test_fitting_plugin_version_does_not_matter_to_an_engine_without_one() -> None:
    heads = replace(ENGINE, decode="kernel", plugin_version="")
    assert fitting((heads,), HERE) is heads


def test_require_engine_of_the_wanted_precision(manifest: Manifest) -> None:
    whole = replace(manifest, precision="fp16", engines=(ENGINE, replace(ENGINE, precision="int8")))
    assert require_engine(whole, precision="auto") == (ENGINE,)
    assert require_engine(whole, precision="int8")[0].precision == "int8"
    with pytest.raises(BundleMismatch, match="holds no fp32 engine for TensorRT, only fp16, int8"):
        require_engine(whole, precision="fp32")


def test_require_engine_of_a_bundle_without_any(manifest: Manifest) -> None:
    with pytest.raises(BundleMismatch, match=r"no engine at all; run: edged-provision build"):
        require_engine(manifest, precision="auto")
