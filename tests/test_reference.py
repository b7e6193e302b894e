"""The official weights through the whole chain agree with YOLOv5's own boxes. Needs EDGED_TEST_DATA."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.boxes import run_edged

# YOLOv5's own code, yolov5n.pt of release 7.0, square letterbox, confidence .25, IoU .45.
AT_640 = {
    "bus.jpg": [
        ("person", 0.823, (219, 408, 349, 863)),
        ("person", 0.816, (52, 399, 207, 895)),
        ("person", 0.676, (681, 377, 810, 870)),
        ("bus", 0.526, (49, 237, 810, 772)),
    ],
    "zidane.jpg": [("person", 0.790, None), ("person", 0.368, None), ("tie", 0.271, None)],
}
AT_320 = {
    "bus.jpg": [("person", 0.860, None), ("bus", 0.842, None), ("person", 0.695, None), ("person", 0.492, None)],
    "zidane.jpg": [("person", 0.784, None), ("person", 0.739, None)],
}


@pytest.mark.parametrize(("size", "expected"), [(640, AT_640), (320, AT_320)], ids=["640", "320"])
def test_official_weights_give_the_published_boxes(
    tmp_path: Path, test_data: Path, size: int, expected: dict[str, list[tuple[str, float, tuple[int, ...] | None]]]
) -> None:
    weights = test_data / "weights" / "yolov5n.pt"
    command = [sys.executable, "-m", "provisioning", "import", str(weights), "--name", "n", "--size", str(size)]
    subprocess.run([*command, "--store", str(tmp_path)], check=True, capture_output=True)
    done = run_edged("detect", test_data / "images", "--model", tmp_path / "n", "--jsonl", "-")
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        message = json.loads(line)
        wanted = expected[Path(message["source"]).name]
        assert [found["label"] for found in message["detections"]] == [label for label, _, _ in wanted]
        for found, (_, confidence, box) in zip(message["detections"], wanted, strict=True):
            assert found["confidence"] == pytest.approx(confidence, abs=0.01)
            if box:
                assert found["box"] == pytest.approx(box, abs=1.5)
