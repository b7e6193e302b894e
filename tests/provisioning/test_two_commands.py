"""Every family goes from its file to MQTT messages in two commands: import, and the daemon, here by way of the demo."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from provisioning.__main__ import main
from tests.boxes import run_edged

COCO, PERSON = ("--names", "coco"), ("--names", "person.txt", "--size", "320")


@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("yolox-nano-416", COCO),
        ("yolo26n-e2e-dynint8.AGPL", ()),
        pytest.param("nanodet-m-320", COCO, marks=pytest.mark.slow),
        pytest.param("rtmdet-nano-person-320", PERSON, marks=pytest.mark.slow),
        pytest.param("yolo11n-320-dynint8.AGPL", (), marks=pytest.mark.slow),
        pytest.param("deimv2-atto-320-dynint8", COCO, marks=pytest.mark.slow),
    ],
)
def test_from_a_file_to_messages(
    test_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, options: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("person.txt").write_text("person\n")
    Path("pictures").mkdir()
    shutil.copy(test_data / "images" / "bus.jpg", "pictures")
    words = ["import", str(test_data / "models" / f"{file}.onnx"), "--name", "mine", "--store", "models", *options]
    assert main(words) == 0

    done = run_edged("demo", "--source", tmp_path / "pictures", "--frames", "3")

    assert done.returncode == 0, done.stderr
    assert "models/active is the active model" in done.stdout
    assert len(re.findall(r"\d person \(0\.\d\d", done.stdout)) >= 3, done.stdout
