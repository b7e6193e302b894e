"""Chooses the model of the demo: one that the user made active, else the one that ships."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edged.core.bundle import ACTIVE, Bundle
from edged.core.errors import EdgedError
from edged.core.paths import MODELS

PERSON = Path(__file__).parent / "person"  # the model that ships with edged; MODEL_CARD.md beside it describes it
STORES = (Path("models"), MODELS)  # of a checkout, and of the service
_SHOWN = "person"  # what walks along the rendered street


def choose_model(*, own_source: bool, stores: Sequence[Path] = STORES) -> tuple[Path, str]:
    """The bundle to show, and a line that says why; empty for the model that ships.

    Args:
        own_source: the user named what to watch. Else it is a street with people, and the model must find those.
        stores: folders whose `active` bundle is preferred, the first before the next.
    """
    for store in stores:
        active = store / ACTIVE
        try:
            if not active.exists():
                continue
            bundle = Bundle.open(active)
        except (OSError, EdgedError) as exc:
            return PERSON, f"{active} cannot be shown: {exc}"
        if own_source or _SHOWN in bundle.manifest.classes:
            return active, f"{active} is the active model; --model PATH shows another"
        return (
            PERSON,
            f"{active} ({bundle.manifest.name}) finds no people, who walk in this street: not shown",
        )
    return PERSON, ""
