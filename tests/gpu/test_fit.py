"""An engine of another machine is refused with what it was built for, what this is, and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edged.core.bundle import Bundle
from edged.core.errors import BundleMismatch
from edged.core.manifest import EngineRecord, Manifest
from edged.gpu.fit import Machine, fitting, require_engine
from tests.handmade import write_bundle

HERE = Machine("Orin", "8.7", {"tensorrt": "10.3.0"})
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


PORTABLE = EngineRecord(
    file="rtx.plan",
    tensorrt="1.7.1.116",
    gpu="",
    compute_capability="",
    precision="fp16",
    decode="kernel",
    plugin_version="",
    batch=(1, 1, 4),
    kind="rtx",
    capabilities=("8.6", "8.9"),
)
CARD = Machine("RTX 4060", "8.9", {"rtx": "1.7.1.116"})


def test_fitting_engine_of_the_kind_that_is_installed() -> None:
    both = {"tensorrt": "10.3.0", "rtx": "1.7.1.116"}
    assert fitting((ENGINE, PORTABLE), CARD) is PORTABLE
    assert fitting((PORTABLE, ENGINE), HERE) is ENGINE
    made_here = replace(ENGINE, gpu="RTX 4060", compute_capability="8.9")
    assert fitting((made_here, PORTABLE), replace(CARD, tensorrt=both)) is made_here


def test_require_engine_prefers_one_that_was_made_on_the_device(manifest: Manifest) -> None:
    whole = replace(manifest, precision="fp16", engines=(PORTABLE, ENGINE))
    assert require_engine(whole, precision="auto") == (ENGINE, PORTABLE)


BUILT = "built for TensorRT for RTX 1.7.1.116, SM 8.6, 8.9; running on "


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (replace(CARD, tensorrt={"rtx": "1.8.0.2"}), f"{BUILT}TensorRT for RTX 1.8.0.2 on RTX 4060, SM 8.9"),
        (replace(CARD, gpu="H100", compute_capability="9.0"), f"{BUILT}TensorRT for RTX 1.7.1.116 on H100, SM 9.0"),
        (replace(CARD, tensorrt={"tensorrt": "11.4.0"}), f"{BUILT}TensorRT 11.4.0 on RTX 4060, SM 8.9"),
        (replace(CARD, tensorrt={}), f"{BUILT}no TensorRT on RTX 4060, SM 8.9"),
    ],
    ids=["release", "card", "kind", "none"],
)
def test_fitting_portable_engine_that_does_not_run_here_says_why(machine: Machine, words: str) -> None:
    with pytest.raises(BundleMismatch, match=r"rtx\.plan was built for") as caught:
        fitting((PORTABLE,), machine)
    assert words in str(caught.value) and "run: edged-provision build" in str(caught.value)


def test_fitting_engine_of_a_kind_that_a_later_release_made_is_refused() -> None:
    with pytest.raises(BundleMismatch, match=r"was built for turbo 3\.0 on Orin"):
        fitting((replace(ENGINE, kind="turbo", tensorrt="3.0"),), HERE)


def test_engine_records_of_an_earlier_manifest_are_read(manifest: Manifest) -> None:
    whole = replace(manifest, engines=(ENGINE, PORTABLE))
    raw = json.loads(whole.to_json())
    del raw["engines"][0]["kind"], raw["engines"][0]["capabilities"]
    assert Manifest.from_json(json.dumps(raw), where="manifest.json") == whole
