"""Hardware decoding where there is no hardware: software decodes, and the decoder's name says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.capture.sources import hardware
from edged.capture.sources.hardware import Hardware, hardware_for
from edged.capture.sources.once import InlineSource
from edged.capture.spec import Acceleration, CameraSpec
from tests.capture.support import number_of, write_video


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")


@pytest.mark.parametrize(
    ("wanted", "reason"), [("none", "software"), ("any", "software (cuda: "), ("cuda", "software (cuda: ")]
)
def test_without_a_device_software_decodes_and_says_why(tmp_path: Path, wanted: Acceleration, reason: str) -> None:
    path = write_video(tmp_path / "numbers.mp4", 5)
    spec = CameraSpec(name="gate", source=str(path), pace="fast", loop=False, acceleration=wanted)
    with InlineSource(spec) as source:
        assert source.info.decoder.partition(", ")[2].startswith(reason)
        assert [number_of(frame.pixels) for _ in range(5) if (frame := source.read())] == list(range(5))


def test_a_refusal_holds_the_words_of_the_devices_library() -> None:
    refusal = hardware_for("cuda").refusal
    assert "CUDA" in refusal and "Operation not permitted" not in refusal


def test_a_kind_of_device_that_this_ffmpeg_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "hwdevices_available", lambda: ["qsv"])
    assert hardware_for("vaapi") == Hardware(refusal="this FFmpeg was built without vaapi")
    assert hardware_for("any") == Hardware(refusal="this FFmpeg has no hardware decoder")


def test_a_codec_that_the_device_does_not_decode() -> None:
    assert Hardware("cuda").way("mjpeg", used=False) == "software (cuda does not decode mjpeg)"
    assert Hardware("cuda").way("h264", used=True) == "hardware (cuda)"
