"""edged-provision quantize: what it tells a person."""

from __future__ import annotations

import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest

from edged.core.bundle import MODEL
from edged.core.manifest import Manifest
from provisioning.__main__ import main
from provisioning.store import Store
from tests.handmade import CLASSES, DECODE, draw_square, square_model

WH = (320, 320)


def test_quantize_on_one_frame_warns_and_prints_a_command_to_paste(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, frames, pictures = tmp_path / "the store", tmp_path / "two words", tmp_path / "pictures"
    manifest = Manifest("squares", "handmade", CLASSES, DECODE, WH, "Apache-2.0", {})
    Store(store).add(manifest, {MODEL: square_model(WH)})
    pictures.mkdir()
    for number in range(2):
        image = np.full((*WH[::-1], 3), 110, np.uint8)
        draw_square(image, CLASSES[number], 8 + 80 * number, 88)
        cv2.imwrite(str(pictures / f"{number}.png"), image)
    assert main(["sample", str(pictures), "--count", "1", "--verification", "1", "--out", str(frames)]) == 0
    capsys.readouterr()
    command = ["quantize", "squares", "--frames", str(frames), "--method", "minmax", "--store", str(store)]
    assert main(command) == 0
    said = capsys.readouterr()
    assert said.err == (
        "edged-provision: warning: calibrated on 1 frame: what these do not show may be clipped; "
        "200 do for a fixed scene (edged-provision sample)\n"
    )
    printed = shlex.split(said.out.partition("verify first: ")[2])
    assert printed[:2] == ["edged-provision", "verify"]
    assert main([*printed[1:], "--min-boxes", "1"]) == 0
    assert "passed" in capsys.readouterr().out
