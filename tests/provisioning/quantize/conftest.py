"""A small real network and frames for it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch

from edged.core.types import Floats
from provisioning.frames.frameset import FrameSet
from provisioning.frames.sample import sample
from provisioning.model.network import build
from provisioning.quantize.placement import named
from tests.provisioning.networks import few_layers, onnx_of

INPUT_WH = (96, 64)


@pytest.fixture(scope="session")
def network() -> onnx.ModelProto:
    """A short YOLOv5n with three classes and random weights, 96x64."""
    torch.manual_seed(0)
    with few_layers():
        net = build("n", classes=3)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.6
    with torch.no_grad():  # statistics that keep activations alive down to the heads
        net(torch.rand(2, 3, INPUT_WH[1], INPUT_WH[0]))
    content = onnx_of(net, input_wh=INPUT_WH, names=["a", "b", "c"])
    return named(onnx.load_from_string(content))


@pytest.fixture(scope="session")
def blobs() -> list[Floats]:
    rng = np.random.default_rng(3)
    return [rng.random((1, 3, INPUT_WH[1], INPUT_WH[0]), np.float32) for _ in range(4)]


@pytest.fixture
def frames(tmp_path: Path) -> FrameSet:
    """Six frames for calibration, two for verification."""
    rng = np.random.default_rng(5)
    (tmp_path / "pictures").mkdir()
    for number in range(8):
        cv2.imwrite(str(tmp_path / f"pictures/{number}.png"), rng.integers(0, 256, (48, 80, 3), np.uint8))
    return sample([str(tmp_path / "pictures")], tmp_path / "frames", count=6, verification=2)
