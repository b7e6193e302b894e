"""What people's checkpoints of YOLOv5 say of themselves: names in every form, and kinds that no camera can feed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from edged.core.errors import DataError
from provisioning.model.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from provisioning.model.network import Release, build
from tests.provisioning.checkpoints import save_official
from tests.provisioning.networks import lively

NAMES = ["cat", "dog"]


def _segmentation(model: nn.Module) -> None:
    """Its last layer keeps the method of a class, as YOLOv5's Segment does."""
    vars(model.get_submodule("model.24"))["detect"] = type(model.get_submodule("model.1")).forward


def _fuse(model: nn.Module) -> None:
    """As YOLOv5 does: normalisation goes, convolutions get a bias, and `forward` becomes the method of an object."""
    for module in model.modules():
        if type(module).__name__ == "Conv" and isinstance(module.conv, nn.Conv2d):
            del module.bn
            module.conv.bias = nn.Parameter(torch.zeros(module.conv.out_channels))
            vars(module)["forward"] = module.float  # any method: the classes of these tests have none of their own


@pytest.mark.parametrize(
    ("model_class", "change", "message"),
    [
        pytest.param("SegmentationModel", _segmentation, "a YOLOv5 for segmentation.*take a detection", id="seg"),
        pytest.param("ClassificationModel", lambda _: None, "a YOLOv5 for classification", id="classify"),
        pytest.param("DetectionModel", _fuse, r"a fused YOLOv5.*best\.pt", id="fused"),
    ],
)
def test_read_says_what_an_honest_checkpoint_is_instead(
    tmp_path: Path, model_class: str, change: Callable[[nn.Module], None], message: str
) -> None:
    path = tmp_path / "other.pt"
    save_official(path, lively(), names=NAMES, model_class=model_class, change=change)
    with pytest.raises(DataError, match=message):
        read_checkpoint(path)


@pytest.mark.parametrize("file", ["fused.pt", "seg.pt"])
def test_read_takes_no_real_checkpoint_for_hostile(test_data: Path, file: str) -> None:
    with pytest.raises(DataError, match=r"a fused YOLOv5|a YOLOv5 for segmentation"):
        read_checkpoint(test_data / "reports" / "provisioning" / "checkpoints" / file)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param({str(i): f"n{i}" for i in range(12)}, [f"n{i}" for i in range(12)], id="text keys"),
        pytest.param({i: f"n{i}" for i in reversed(range(12))}, [f"n{i}" for i in range(12)], id="in any order"),
        pytest.param({i: 2000 + i for i in range(12)}, [str(2000 + i) for i in range(12)], id="numbers"),
        pytest.param([1.5, *range(11)], ["1.5", *map(str, range(11))], id="a list of numbers"),
    ],
)
def test_read_official_names_belong_to_their_classes(tmp_path: Path, names: object, expected: list[str]) -> None:
    save_official(tmp_path / "best.pt", lively(classes=12), names=names)
    assert read_checkpoint(tmp_path / "best.pt").names == tuple(expected)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("release", ["5", "6"])
def test_read_refuses_pictures_that_no_camera_gives(tmp_path: Path, channels: int, release: Release) -> None:
    net = build("n", classes=2, channels=channels, release=release)
    save_official(tmp_path / "best.pt", net, names=NAMES)
    save_checkpoint(tmp_path / "last.pt", Checkpoint.of(net, names=NAMES))
    for file in ("best.pt", "last.pt"):
        with pytest.raises(DataError, match=f"pictures of {channels} channels?, expected 3"):
            read_checkpoint(tmp_path / file)
