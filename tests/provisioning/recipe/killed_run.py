"""Run as a program: a recipe that is killed in the middle of one stage. Usage: killed_run.py SETTINGS.json FUNCTION."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from provisioning.build import find
from provisioning.recipe import chain
from provisioning.recipe.run import run_recipe
from provisioning.recipe.settings import ProvisionSettings
from provisioning.store import Store

if __name__ == "__main__":
    settings = ProvisionSettings.model_validate(json.loads(Path(sys.argv[1]).read_text()))
    owner: Any = Store if sys.argv[2] in {"add", "activate"} else chain
    real = getattr(owner, sys.argv[2])

    def killed(*args: object, **kwargs: object) -> None:
        """The stage does its work; then the process dies before it can say so."""
        real(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, sys.argv[2], killed)
    patched: Any = find
    patched.installed = tuple
    run_recipe(settings, force=False, dry_run=False, say=lambda _line: None)
