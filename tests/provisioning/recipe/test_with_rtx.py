"""The one command on a machine without a GPU, with the real TensorRT for RTX: a bundle with an engine in it."""

from __future__ import annotations

import pytest

from edged.gpu.tensorrt import installed
from provisioning.recipe.run import run_recipe
from tests.provisioning.recipe.conftest import Make

pytestmark = pytest.mark.skipif("rtx" not in installed(), reason="TensorRT for RTX is not installed")


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_one_command_makes_a_bundle_with_an_engine(make_settings: Make, precision: str) -> None:
    said: list[str] = []
    settings = make_settings(precision=precision, tensorrt="rtx", gpus=["8.6", "12.0"], batch=[1, 1, 2])
    outcome = run_recipe(settings, force=False, dry_run=False, say=said.append)
    assert outcome.bundle is not None
    engine = outcome.bundle.manifest.engines[0]
    assert (engine.kind, engine.precision, engine.capabilities) == ("rtx", precision, ("8.6", "12.0"))
    assert engine.file == f"engine-{precision}-rtx-sm86-120.plan"
    assert len(outcome.bundle.read(engine.file)) > 100_000
    assert "timing.cache" not in outcome.bundle.manifest.files
    assert "no GPU here runs it" in outcome.left
    assert any("INT8" in line for line in said) == (precision == "int8")
    again = run_recipe(settings, force=False, dry_run=False, say=said.append)
    assert not again.changed and not [output for output in again.outputs if output.fresh]
