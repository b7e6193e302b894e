"""A checkpoint whose boxes are many, pictures for it, and settings that make a bundle of both in seconds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from provisioning.model.torch_checkpoint import checkpoint_of, save_checkpoint
from provisioning.recipe.run import run_recipe
from provisioning.recipe.settings import ProvisionSettings
from tests.provisioning.networks import lively

Make = Callable[..., ProvisionSettings]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    net = lively("n", classes=2)
    with torch.no_grad():
        for conv in net.detect.m:
            if isinstance(conv, nn.Conv2d) and conv.bias is not None:
                conv.bias.add_(6.0)
    path = tmp_path_factory.mktemp("weights") / "net.pt"
    save_checkpoint(path, checkpoint_of(net, names=["cat", "dog"], licence="MIT"))
    return path


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(2)
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(9):
        cv2.imwrite(
            str(folder / f"{number}.png"), rng.integers(0, 256, (6, 6, 3), np.uint8).repeat(12, 0).repeat(12, 1)
        )
    return folder


def settings_in(folder: Path, checkpoint: Path, pictures: Path, **changes: object) -> ProvisionSettings:
    """Settings with a gate that passes anything, unless told otherwise."""
    values: dict[str, object] = {
        "name": "pets",
        "weights": str(checkpoint),
        "size": "64",
        "precision": "int8",
        "calibration": "minmax",
        "frames": [str(pictures)],
        "frames_count": 6,
        "frames_verification": 3,
        "min_f1": 0.0,
        "min_boxes": 1,
        "store": str(folder / "store"),
        "work": str(folder / "work"),
    }
    return ProvisionSettings.model_validate({**values, **changes})


@pytest.fixture(scope="session")
def provisioned(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path, pictures: Path) -> tuple[Path, list[str]]:
    """A folder in which one run was made from nothing, and what it said."""
    folder = tmp_path_factory.mktemp("provisioned")
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("provisioning.build.find.installed", tuple)
        run_recipe(settings_in(folder, checkpoint, pictures), force=False, dry_run=False, say=said.append)
    return folder, said


@pytest.fixture
def make_settings(provisioned: tuple[Path, list[str]], checkpoint: Path, pictures: Path, tmp_path: Path) -> Make:
    """Settings of a store and a workshop in which everything is up to date."""
    shutil.copytree(provisioned[0], tmp_path, symlinks=True, dirs_exist_ok=True)
    return lambda **changes: settings_in(tmp_path, checkpoint, pictures, **changes)
