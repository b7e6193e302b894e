"""The chain on a machine that builds engines: from which graph, what is left where none is built, what is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import onnx
import pytest

from edged.core.bundle import Bundle
from edged.core.errors import BundleMismatch, ConfigError, DetectorError, EdgedError, NotInstalled, UsageError
from provisioning.build import find
from provisioning.build.bundle_engine import add_engine
from provisioning.importing import Exported
from provisioning.recipe import chain
from provisioning.recipe import run as run_module
from provisioning.recipe.run import Outcome, maker_or_reason, run_recipe
from provisioning.recipe.settings import ProvisionSettings
from provisioning.store import Store
from provisioning.verify.stage import verify_bundle
from tests.handmade_list import list_manifest, list_model
from tests.provisioning.fake_maker import FakeMaker
from tests.provisioning.recipe.conftest import Make


def provision(settings: ProvisionSettings) -> Outcome:
    return run_recipe(settings, force=False, dry_run=False, say=lambda _line: None)


def fresh(outcome: Outcome) -> list[str]:
    return [output.stage for output in outcome.outputs if output.fresh]


def active(settings: ProvisionSettings) -> Bundle | None:
    return Store(Path(settings.store)).active()


@pytest.mark.parametrize(("typed", "decode", "last"), [(True, "plugin", "YoloLayer_TRT"), (False, "kernel", "Sigmoid")])
def test_an_engine_is_built_from_the_graph_that_its_version_wants(
    make_settings: Make,
    monkeypatch: pytest.MonkeyPatch,
    typed: bool,  # noqa: FBT001
    decode: Literal["plugin", "kernel"],
    last: str,
) -> None:
    maker = FakeMaker(typed=typed, decode=decode)
    monkeypatch.setattr(run_module, "maker_or_reason", lambda _settings: (maker, ""))
    monkeypatch.setattr(chain, "verify_bundle", _passing(verify_bundle))
    outcome = provision(make_settings())
    assert outcome.left == ""
    assert outcome.bundle is not None
    engine = outcome.bundle.manifest.engines[0]
    assert (engine.precision, engine.decode, engine.batch) == ("int8", decode, (1, 1, 4))
    assert outcome.bundle.read("engine-int8-fake.plan") == b"plan"
    built = onnx.load_from_string(maker.built[0])
    assert built.graph.node[-1].op_type == last
    assert built.opset_import[0].version == (19 if typed else 17)
    assert fresh(provision(make_settings())) == []
    assert len(maker.built) == 1


def with_list_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the weights are, they are exported as a model that gives finished boxes."""
    content = list_model((64, 64))
    exported = Exported(list_manifest(content, input_wh=(64, 64), name="pets"), content)
    monkeypatch.setattr(chain, "export_model", lambda *_args, **_options: exported)


def test_an_engine_of_a_list_model_is_built_from_its_own_outputs(
    make_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_list_model(monkeypatch)
    maker = FakeMaker(typed=True, decode="plugin", runs_here=False)
    monkeypatch.setattr(run_module, "maker_or_reason", lambda _settings: (maker, ""))
    settings = make_settings(precision="fp16", size="64x64", seed=5)
    assert "engine" in fresh(provision(settings))
    (built,) = (onnx.load_from_string(content) for content in maker.built)
    assert [output.name for output in built.graph.output] == ["rows"]
    assert built.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    bundle = Store(Path(settings.store)).open("pets")
    assert [engine.decode for engine in bundle.manifest.engines] == ["kernel"]
    assert "model.plugin.onnx" not in bundle.manifest.files
    assert fresh(provision(settings)) == []


def test_int8_of_a_list_model_is_refused_before_frames_are_sampled(
    make_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_list_model(monkeypatch)
    monkeypatch.setattr(chain, "sample", lambda *_args, **_options: pytest.fail("frames were sampled"))
    with pytest.raises(BundleMismatch, match=r"pets is not quantised to INT8: .* take precision fp16 on a GPU"):
        provision(make_settings(precision="int8", size="64x64", seed=5))


@pytest.mark.parametrize(("precision", "last"), [("int8", "verify"), ("fp16", "bundle")])
def test_an_engine_that_no_gpu_here_runs_is_built_and_said_to_be_unverified(
    make_settings: Make, monkeypatch: pytest.MonkeyPatch, precision: str, last: str
) -> None:
    """INT8 is verified by the graph that the CPU runs; the float model has nothing to be held against."""
    maker = FakeMaker(typed=True, decode="kernel", runs_here=False)
    monkeypatch.setattr(run_module, "maker_or_reason", lambda _settings: (maker, ""))
    said: list[str] = []
    outcome = run_recipe(make_settings(precision=precision), force=False, dry_run=False, say=said.append)
    assert outcome.outputs[-1].stage == last
    assert outcome.bundle is not None and outcome.bundle.manifest.engines
    assert "no GPU here runs it" in outcome.left and "edged-provision verify pets --frames" in outcome.left
    assert any(f"nothing speaks for {precision}" in line for line in said)
    assert ("model.int8.cpu.onnx" in str(outcome.bundle.manifest.report)) == (precision == "int8")


@pytest.mark.parametrize(
    ("error", "gpus", "raised"),
    [
        (NotInstalled("TensorRT is not installed here"), [], None),
        (DetectorError("no driver\n  log"), [], None),
        (BundleMismatch("H100 is SM 9.0"), [], None),
        (BundleMismatch("asked for was 9.0"), ["9.0"], ConfigError),
        (UsageError("takes no plugins"), [], ConfigError),
    ],
)
def test_what_no_tensorrt_here_builds_is_left_unless_it_was_asked_for(
    make_settings: Make,
    monkeypatch: pytest.MonkeyPatch,
    error: EdgedError,
    gpus: list[str],
    raised: type[EdgedError] | None,
) -> None:
    def fail(**_options: object) -> None:
        raise error

    monkeypatch.setattr(find, "find_maker", fail)
    settings = make_settings(gpus=gpus)
    if raised is None:
        assert maker_or_reason(settings) == (None, str(error).splitlines()[0])
    else:
        with pytest.raises(raised, match=rf"^\[provision\] .*: {error}$"):
            maker_or_reason(settings)


def test_engines_added_by_hand_stay_with_their_model(make_settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = FakeMaker(typed=False, decode="kernel")
    monkeypatch.setattr(run_module, "maker_or_reason", lambda _settings: (recipe, ""))
    monkeypatch.setattr(chain, "verify_bundle", _passing(verify_bundle))
    settings = make_settings()
    store = Store(Path(settings.store))
    provision(settings)
    by_hand = FakeMaker(typed=False, decode="kernel", gpu="Another")
    add_engine(store, store.open("pets"), by_hand, precision="int8", batch=(1, 1, 2), workspace_mb=1024)
    said: list[str] = []
    outcome = run_recipe(settings, force=False, dry_run=False, say=said.append)
    assert outcome.bundle is not None
    assert [engine.gpu for engine in outcome.bundle.manifest.engines] == ["Fake", "Another"]
    assert outcome.bundle.read("engine-int8-another.plan") == b"plan"
    assert any("engine-int8-another.plan, added by hand, is kept" in line for line in said)
    assert not run_recipe(settings, force=False, dry_run=False, say=said.append).changed
    run_recipe(make_settings(size="64x96"), force=False, dry_run=False, say=said.append)
    assert [engine.gpu for engine in store.open("pets").manifest.engines] == ["Fake"]
    assert any("engine-int8-another.plan, added by hand, is left out: it is of another model" in line for line in said)


def test_engines_that_an_earlier_recipe_made_go_with_it(make_settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "verify_bundle", _passing(verify_bundle))
    for gpu in ("Fake", "Another"):
        maker = FakeMaker(typed=False, decode="kernel", gpu=gpu)
        monkeypatch.setattr(run_module, "maker_or_reason", lambda _settings, maker=maker: (maker, ""))
        provision(make_settings())
    bundle = active(make_settings())
    assert bundle is not None and [engine.gpu for engine in bundle.manifest.engines] == ["Another"]


def test_an_engine_is_verified_once_a_gpu_here_runs_it(make_settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The very same engine: a card was put in."""
    monkeypatch.setattr(chain, "verify_bundle", _passing(verify_bundle))
    for runs_here, expected in ((False, ["engine", "bundle", "verify"]), (True, ["verify"])):
        maker = FakeMaker(typed=False, decode="kernel", runs_here=runs_here)
        monkeypatch.setattr(run_module, "maker_or_reason", lambda _settings, maker=maker: (maker, ""))
        outcome = provision(make_settings())
        assert fresh(outcome) == expected
        assert bool(outcome.left) == (not runs_here)


def _passing(real: Callable[..., dict[str, bytes]]) -> Callable[..., dict[str, bytes]]:
    """Verification of the bundle as if it held no engine: there is no device to run it on."""

    def verify(bundle: Bundle, *args: object, **kwargs: object) -> dict[str, bytes]:
        without = dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, engines=()))
        return real(without, *args, **kwargs)

    return verify
