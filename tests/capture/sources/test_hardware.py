"""Hardware decoding without hardware, or with one that fails: software decodes, and the decoder's name says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import pytest

from edged.capture.sources import ffmpeg, hardware, opening
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


class Failing:
    """Stands in for a track and for its decoder on a device that fails after some packets."""

    is_hwaccel = True

    def __init__(self, real: Any, error: Exception, packets: int) -> None:
        self._real, self._error, self._left = real, error, packets

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    @property
    def codec_context(self) -> Any:
        self._left, decoder = self._left - 1, Failing(self._real.codec_context, self._error, self._left)
        return decoder

    def decode(self, packet: Any) -> Any:
        if self._left <= 0:
            raise self._error
        return self._real.decode(packet)


def read_with_failing(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, packets: int
) -> tuple[list[int], str]:
    """The numbers of the pictures that came, and the decoder's name at the end."""
    real = opening.open_track
    monkeypatch.setattr(opening, "hardware_for", lambda wanted: Hardware("cuda") if wanted != "none" else Hardware())

    def open_track(opened: Any, *rest: Any) -> Any:
        track = real(opened, *rest)
        return Failing(track, error, packets) if opened.hardware.name else track

    monkeypatch.setattr(ffmpeg, "open_track", open_track)
    spec = CameraSpec(name="gate", source=str(path), pace="fast", loop=False, acceleration="cuda")
    with InlineSource(spec) as source:
        assert source.info.decoder.endswith(", hardware (cuda)")
        numbers = []
        while (frame := source.read()) is not None:
            numbers.append(number_of(frame.pixels))
        return numbers, source.info.decoder


@pytest.mark.parametrize("packets", [4, 8, 14])
def test_a_device_that_fails_under_way_gives_way_to_software(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packets: int
) -> None:
    path = write_video(tmp_path / "numbers.mp4", 20)
    lost = av.error.ExternalError(542398533, "cuvidDecodePicture: an illegal memory access")
    numbers, decoder = read_with_failing(path, monkeypatch, lost, packets)
    assert numbers == list(range(20))
    assert decoder.endswith(", software (cuda failed: [Errno 542398533] cuvidDecodePicture: an illegal memory access)")


def test_damage_is_not_taken_for_a_device_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "numbers.mp4", 20)
    damage = av.error.InvalidDataError(1094995529, "Invalid data found when processing input")
    numbers, decoder = read_with_failing(path, monkeypatch, damage, 8)
    assert numbers == list(range(len(numbers))) and len(numbers) < 10
    assert decoder.endswith(", hardware (cuda)")
