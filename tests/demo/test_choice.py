"""The demo shows the user's own model where there is one."""

from __future__ import annotations

from pathlib import Path

from edged.demo.choice import PERSON, choose_model
from tests.handmade import edit_manifest, write_bundle


def store(folder: Path, *classes: str) -> Path:
    """A store whose active bundle knows three classes."""
    bundle = write_bundle(folder / ".objects" / "abc")
    edit_manifest(bundle, classes=list(classes))
    (folder / "active").symlink_to(Path(".objects") / "abc")
    return folder


def test_without_an_own_model_the_one_that_ships_is_shown(tmp_path: Path) -> None:
    assert choose_model(own_source=False, stores=(tmp_path / "models",)) == (PERSON, "")


def test_the_active_model_is_preferred_and_said(tmp_path: Path) -> None:
    models = store(tmp_path / "models", "person", "dog", "cat")
    found, reason = choose_model(own_source=False, stores=(tmp_path / "none", models))
    assert (found, reason) == (models / "active", f"{models}/active is the active model; --model PATH shows another")


def test_a_street_is_shown_to_a_model_that_finds_people(tmp_path: Path) -> None:
    models = store(tmp_path / "models", "bolt", "nut", "screw")
    found, reason = choose_model(own_source=False, stores=(models,))
    assert found == PERSON and "(squares) finds no people, who walk in this street" in reason
    assert choose_model(own_source=True, stores=(models,))[0] == models / "active"


def test_a_damaged_model_is_said_and_not_shown(tmp_path: Path) -> None:
    models = store(tmp_path / "models", "person", "dog", "cat")
    (models / "active" / "manifest.json").write_text("{")
    found, reason = choose_model(own_source=True, stores=(models,))
    assert found == PERSON and f"{models}/active cannot be shown: " in reason
