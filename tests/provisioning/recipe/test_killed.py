"""A recipe killed in the middle of every stage: the active bundle stays whole, and the next run finishes the work."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edged.core.bundle import Bundle
from provisioning.build import find
from provisioning.bundle_files import require_whole
from provisioning.recipe.run import run_recipe
from tests.provisioning.recipe.conftest import Make

PROGRAM = Path(__file__).with_name("killed_run.py")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "function"),
    [
        ("export", "export_model"),
        ("frames", "sample"),
        ("quantize", "quantize"),
        ("patch", "engine_models"),
        ("bundle", "write_bundle"),
        ("verify", "verify_bundle"),
        ("verify", "add"),
        ("verify", "activate"),
    ],
)
def test_a_kill_leaves_a_valid_active_bundle(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, function: str
) -> None:
    settings = make_settings(seed=3 if function in {"add", "activate"} else 0)
    for output in Path(settings.work).glob(f"{stage}-*"):
        shutil.rmtree(output)
    (tmp_path / "settings.json").write_text(settings.model_dump_json())
    command = [sys.executable, str(PROGRAM), str(tmp_path / "settings.json"), function]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr

    require_whole(Bundle.open(Path(settings.store) / "active").directory)

    monkeypatch.setattr(find, "installed", tuple)
    outcome = run_recipe(settings, force=False, dry_run=False, say=lambda _line: None)
    assert outcome.bundle is not None
    require_whole(outcome.bundle.directory)
    assert Bundle.open(Path(settings.store) / "active").directory == outcome.bundle.directory
    assert list(Path(settings.work).glob(".unfinished*")) == []
