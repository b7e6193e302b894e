"""What people's checkpoints of YOLOv5 say of themselves: names in every form, and kinds that no camera can feed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from edged.core.errors import DataError
from provisioning.model.checkpoint import read_checkpoint
from provisioning.model.description import Release
from provisioning.model.network import build
from provisioning.model.torch_checkpoint import checkpoint_of, save_checkpoint
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


@pytest.mark.parametrize(
    "names",
    [["c\x1bat", "dog"], ["cat\ndog", "dog"], ["cat\u2028", "\ud800"], ["c" * 201, "dog"], {"a" * 100_000: "cat"}],
    ids=["escape", "two lines", "half a letter", "too long", "long key"],
)
def test_read_refuses_names_that_nobody_could_print(tmp_path: Path, names: object) -> None:
    save_official(tmp_path / "best.pt", lively(), names=names)
    with pytest.raises(DataError, match=r"name of class|class names must") as caught:
        read_checkpoint(tmp_path / "best.pt")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def _endless() -> tuple[object, ...]:
    """A few hundred bytes in the file; its text, and its hash, would take years."""
    value: tuple[object, ...] = ()
    for _ in range(60):
        value = (value, value)
    return value


@pytest.mark.parametrize(
    ("module", "attribute", "message"),
    [
        ("model.24", "stride", "heads with strides"),
        ("model.24", "nc", "2 class names for heads with"),
        ("model.1.conv", "padding", "padding is"),
        ("model.1.act", "negative_slope", "slope"),
    ],
)
def test_read_shows_little_of_an_endless_value(tmp_path: Path, module: str, attribute: str, message: str) -> None:
    def change(model: nn.Module) -> None:
        vars(model.get_submodule(module))[attribute] = _endless()

    save_official(tmp_path / "best.pt", lively(), names=NAMES, change=change)
    with pytest.raises(DataError, match=message) as caught:
        read_checkpoint(tmp_path / "best.pt")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "change",
    [
        {"size": ["n"]},
        {"release": _endless()},
        {"activation": "gelu"},
        {"strides": _endless()},
        {"format": "x" * 100_000},
        {"names": [_endless(), "dog"]},
        {"names": ["\x1b[2J", "dog"]},
        {"channels": float("inf")},
        {"channels": 1 << 2000},
        {"anchors": [[["x" * 100_000, 1]]]},
        {"model": {1: torch.zeros(1)}},
        {"model": {"model.0.conv.weight": None}},
        {"model": {"x" * 100_000: torch.zeros(1)}},
        {"model": []},
    ],
    ids=lambda change: next(iter(change)),
)
def test_read_ours_refuses_what_our_trainer_never_wrote(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, checkpoint_of(lively(), names=NAMES))
    torch.save({**torch.load(path, weights_only=True), **change}, path)
    with pytest.raises(DataError) as caught:
        read_checkpoint(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 800


def test_a_licence_that_nobody_could_print_is_none(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, checkpoint_of(lively(), names=NAMES, licence="\ud800", date="\x1b[2J"))
    checkpoint = read_checkpoint(path)
    assert (checkpoint.licence, checkpoint.date) == ("", "")


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("release", ["5", "6"])
def test_read_refuses_pictures_that_no_camera_gives(tmp_path: Path, channels: int, release: Release) -> None:
    net = build("n", classes=2, channels=channels, release=release)
    save_official(tmp_path / "best.pt", net, names=NAMES)
    save_checkpoint(tmp_path / "last.pt", checkpoint_of(net, names=NAMES))
    for file in ("best.pt", "last.pt"):
        with pytest.raises(DataError, match=f"pictures of {channels} channels?, expected 3"):
            read_checkpoint(tmp_path / file)
