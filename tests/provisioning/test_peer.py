"""The peer that `edged bench --gpu` runs beside the detector, here on a CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from edged.bench.gpu import PEER
from provisioning import peer
from provisioning.model.network import build
from provisioning.model.torch_checkpoint import checkpoint_of, save_checkpoint


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "net.pt", checkpoint_of(build("n", classes=1), names=("person",)))
    return tmp_path / "net.pt"


def test_peer_tells_both_rates_of_every_batch_size(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert peer.__name__ == PEER
    words = ["--weights", str(weights), "--size", "64", "--frame", "96x64", "--batches", "1,2", "--repeats", "2"]
    assert peer.main([*words, "--device", "cpu"]) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert [(one["precision"], one["batch"]) for one in figures] == [("fp32", 1), ("fp32", 2)]
    assert all(one["model_fps"] > 0 and one["whole_fps"] > 0 for one in figures)


def test_peer_without_a_cuda_device_says_so(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    assert peer.main(["--weights", str(weights)]) == 70
    assert "sees no CUDA device" in capsys.readouterr().err


def test_peer_of_no_weights_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert peer.main(["--weights", str(tmp_path / "none.pt"), "--device", "cpu"]) == 65
    assert "none.pt" in capsys.readouterr().err
