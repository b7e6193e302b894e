"""Sources read in-process: kinds, ends, bad input."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edged.capture.sources.kinds import Kind, kind_of
from edged.capture.sources.once import InlineSource
from edged.capture.spec import CameraSpec
from edged.core.errors import CameraError, DataError
from edged.core.types import Frame
from tests.capture.support import number_of, write_video


def spec(source: Path | str, **options: Any) -> CameraSpec:
    return CameraSpec(name="gate", source=str(source), **{"pace": "fast", "loop": False, **options})


def read_all(camera: CameraSpec) -> list[Frame]:
    frames = []
    with InlineSource(camera) as source:
        while (frame := source.read()) is not None:
            frames.append(frame)
    return frames


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_source_video_gives_every_frame(tmp_path: Path, suffix: str) -> None:
    frames = read_all(spec(write_video(tmp_path / f"v{suffix}", 25)))
    assert [number_of(frame.pixels) for frame in frames] == list(range(25))
    assert [frame.meta.sequence for frame in frames] == list(range(25))


@pytest.mark.parametrize(("limit", "expected"), [(5.0, range(0, 20, 4)), (20.0, range(20)), (10.0, range(0, 20, 2))])
def test_source_fps_limit_keeps_an_even_share(tmp_path: Path, limit: float, expected: range) -> None:
    frames = read_all(spec(write_video(tmp_path / "v.mp4", 20, fps=20), fps=limit))
    assert [number_of(frame.pixels) for frame in frames] == list(expected)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_source_rotates_clockwise(degrees: int) -> None:
    plain = read_all(spec("test:?size=64x48&frames=2"))
    turned = read_all(spec("test:?size=64x48&frames=2", rotate=degrees))
    for before, after in zip(plain, turned, strict=True):
        assert np.array_equal(after.pixels, np.rot90(before.pixels, -degrees // 90))


def test_source_pattern_is_the_same_for_everyone() -> None:
    one, two = (read_all(spec("test:?size=64x48&frames=3&seed=7")) for _ in range(2))
    other = read_all(spec("test:?size=64x48&frames=3&seed=8"))
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(one[0].pixels, other[0].pixels)
    assert not np.array_equal(one[0].pixels, one[1].pixels)


@pytest.mark.parametrize(
    "query", ["size=0x0", "size=640", "fps=0", "fps=nan", "frames=-1", "colour=red", "size=99999x9"]
)
def test_source_pattern_refuses(query: str) -> None:
    with pytest.raises(CameraError):
        InlineSource(spec(f"test:?{query}"))


def test_source_folder_skips_nothing_silently(tmp_path: Path) -> None:
    for name in ("a.png", "c.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((20, 30, 3), np.uint8))
    (tmp_path / "b.png").write_bytes(b"")
    seen = []
    with InlineSource(spec(tmp_path)) as source:
        for _ in range(3):
            try:
                assert source.read() is not None
            except DataError as exc:
                seen.append(str(exc))
            else:
                seen.append(Path(source.location).name)
        assert source.read() is None
    assert (seen[0], seen[2]) == ("a.png", "c.png")
    assert "b.png" in seen[1] and "0 bytes" in seen[1]


def test_source_folder_of_bad_pictures_fails(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with InlineSource(spec(tmp_path)) as source:
        with pytest.raises(DataError):
            source.read()
        with pytest.raises(CameraError, match="none of 1 pictures can be read"):
            source.read()


def test_source_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", 3).rename(tmp_path / "v.jpg")
    assert kind_of(str(video)) is Kind.VIDEO
    assert len(read_all(spec(video))) == 3
    cv2.imwrite(str(tmp_path / "p.png"), np.zeros((20, 30, 3), np.uint8))
    still = (tmp_path / "p.png").rename(tmp_path / "p.mp4")
    assert kind_of(str(still)) is Kind.PICTURES


def test_source_video_of_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.mp4"
    os.rename(write_video(tmp_path / "v.mp4", 5), name)
    assert len(read_all(spec(os.fsdecode(name)))) == 5


def test_source_name_like_a_protocol_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.rename(write_video(tmp_path / "v.mp4", 5), tmp_path / "concat:v.mp4")
    assert len(read_all(spec("concat:v.mp4"))) == 5


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param("/nowhere/video.mp4", "No such file or directory", id="absent"),
        pytest.param("ftp://host/video.mp4", "scheme ftp:// is not supported", id="scheme"),
        pytest.param("/dev/video97", "/dev/video97: No such file", id="device"),
        pytest.param("97", "/dev/video97: No such file", id="bare-device"),
        pytest.param("/nowhere/*.jpg", "no file matches", id="glob"),
        pytest.param("rtsp://joe:secret@127.0.0.1:1/cam?token=secret", "cannot be opened", id="refused"),
    ],
)
def test_source_that_is_not_there(source: str, message: str) -> None:
    with pytest.raises(CameraError, match=message) as caught:
        InlineSource(spec(source))
    assert "secret" not in str(caught.value)


@pytest.mark.skipif(cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER), reason="this OpenCV has GStreamer")
def test_source_gstreamer_missing_says_so() -> None:
    with pytest.raises(CameraError, match="built without GStreamer"):
        InlineSource(spec("gst:videotestsrc ! appsink"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", r"empty \(0 bytes\)", id="empty"),
        pytest.param(b"\0\0\0\x18ftypmp42" + bytes(500), "cannot be opened", id="torn"),
        pytest.param(os.urandom(5000), "cannot be opened|no video frame", id="noise"),
    ],
)
def test_source_bad_video(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(content)
    with pytest.raises(CameraError, match=message):
        read_all(spec(path))


def test_source_text_that_is_named_as_a_picture_says_so(tmp_path: Path) -> None:
    path = tmp_path / "p.jpg"
    path.write_text("<!DOCTYPE html> please log in")
    with pytest.raises(CameraError, match=r"is named \.jpg but holds text: '<!DOCTYPE html> '"):
        read_all(spec(path))


def test_source_audio_only(tmp_path: Path) -> None:
    samples = bytes(16_000)
    head = (
        b"RIFF" + (36 + len(samples)).to_bytes(4, "little") + b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0"
    )
    path = tmp_path / "sound.wav"
    path.write_bytes(head + b"\x02\0\x10\0data" + len(samples).to_bytes(4, "little") + samples)
    with pytest.raises(CameraError, match="audio only"):
        InlineSource(spec(path))


def test_source_larger_than_allowed(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", 3, size_wh=(320, 240))
    with pytest.raises(CameraError, match="320x240 pixels, the limit is 1000"):
        InlineSource(spec(video, max_pixels=1000))
    with pytest.raises(CameraError, match="limit of 1000 pixels"):
        InlineSource(spec("test:?size=320x240", max_pixels=1000))


def test_source_real_video(test_data: Path) -> None:
    frames = read_all(spec(test_data / "videos" / "pets.mp4"))
    assert len(frames) == 795
    assert frames[0].meta.size_wh == (480, 360)
