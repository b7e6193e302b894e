"""Every picture that comes out of a video is the one that went in, whatever its form; else it is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edged.capture.sources.once import InlineSource
from edged.capture.spec import CameraSpec
from edged.core.errors import CameraError, DataError
from edged.core.types import Pixels
from tests.capture.support import number_of
from tests.capture.videos import (
    INTERLACED,
    encoded,
    fields_of_motion,
    joined,
    jpegs,
    write,
    write_jpegs,
    write_pictures,
)

QUIET_265 = {"x265-params": "log-level=none:bframes=0:scenecut=0:keyint=8"}


def read(path: Path, **options: Any) -> list[Pixels | str]:
    """Pictures, and what was said of those that are none."""
    seen: list[Pixels | str] = []
    with InlineSource(CameraSpec(name="gate", source=str(path), pace="fast", loop=False, **options)) as source:
        while True:
            try:
                frame = source.read()
            except DataError as exc:
                seen.append(str(exc))
                continue
            if frame is None:
                return seen
            seen.append(frame.pixels)


def numbers(seen: list[Pixels | str]) -> list[int | str]:
    return ["bad" if isinstance(one, str) else number_of(one) for one in seen]


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format", "options"),
    [
        pytest.param("v.mp4", "libx264", "yuv420p", {}, id="h264"),
        pytest.param("v.mp4", "libx264", "yuv420p", INTERLACED, id="h264-interlaced"),
        pytest.param("v.mkv", "libx264", "yuv420p", {"x264-params": "interlaced=1:bff=1"}, id="h264-bottom-first"),
        pytest.param("v.ts", "mpeg2video", "yuv420p", {"flags": "+ildct+ilme", "b": "4M"}, id="mpeg2-interlaced"),
        pytest.param("v.mp4", "mpeg4", "yuv420p", {"flags": "+ildct+ilme", "b": "4M"}, id="mpeg4-interlaced"),
        pytest.param("v.mp4", "libx264", "yuv422p10le", INTERLACED, id="h264-422-10-bit-interlaced"),
        pytest.param("v.mp4", "libx264", "yuv420p10le", {}, id="h264-10-bit"),
        pytest.param("v.mp4", "libx265", "yuv420p10le", QUIET_265, id="h265-10-bit"),
        pytest.param("v.mp4", "libx264", "yuvj420p", {}, id="full-range"),
        pytest.param("v.mp4", "libx264", "yuv444p", {}, id="444"),
        pytest.param("v.mkv", "ffv1", "gray", {}, id="grey"),
        pytest.param("v.mkv", "ffv1", "gray16le", {}, id="grey-16-bit"),
        pytest.param("v.mkv", "ffv1", "bgra", {}, id="alpha"),
    ],
)
def test_picture_forms_come_out_as_they_went_in(
    tmp_path: Path, name: str, codec: str, pixel_format: str, options: dict[str, str]
) -> None:
    assert numbers(read(write(tmp_path / name, codec, pixel_format, options=options))) == list(range(24))


@pytest.mark.parametrize(
    ("codec", "pixel_format", "size_wh", "options"),
    [
        pytest.param("libx265", "yuv420p", (162, 122), QUIET_265, id="h265-even"),
        pytest.param("ffv1", "yuv420p", (161, 121), {}, id="odd"),
        pytest.param("libx264", "yuv444p", (161, 121), {}, id="h264-odd"),
        pytest.param("libx264", "yuv420p", (162, 124), INTERLACED, id="interlaced"),
    ],
)
def test_picture_sizes_are_kept(
    tmp_path: Path, codec: str, pixel_format: str, size_wh: tuple[int, int], options: dict[str, str]
) -> None:
    seen = read(write(tmp_path / "v.mkv", codec, pixel_format, size_wh=size_wh, options=options, frames=8))
    assert numbers(seen) == list(range(8))
    assert {one.shape for one in seen if not isinstance(one, str)} == {(size_wh[1], size_wh[0], 3)}


def size_of(sizes: list[Any]) -> Any:
    return sizes[0] if len(set(sizes)) == 1 else sizes


FIRST, SECOND = range(12), range(12, 24)


@pytest.mark.parametrize(
    ("suffix", "content", "after_wh"),
    [
        pytest.param(".avi", lambda: jpegs(FIRST) + jpegs(SECOND, grey=True), (160, 120), id="colour-to-grey"),
        pytest.param(".avi", lambda: jpegs(FIRST, grey=True) + jpegs(SECOND), (160, 120), id="grey-to-colour"),
        pytest.param(".avi", lambda: jpegs(FIRST) + jpegs(SECOND, size_wh=(320, 240)), (320, 240), id="larger"),
        pytest.param(".avi", lambda: jpegs(FIRST) + jpegs(SECOND, size_wh=(80, 64)), (80, 64), id="smaller"),
        *(
            pytest.param(
                ".h264",
                lambda before=before, after=after: joined(
                    encoded("libx264", before[0], FIRST, options=before[1]),
                    encoded("libx264", after[0], SECOND, options=after[1]),
                ),
                (160, 120),
                id=name,
            )
            for name, before, after in (
                ("to-interlaced", ("yuv420p", {}), ("yuv420p", INTERLACED)),
                ("to-progressive", ("yuv420p", INTERLACED), ("yuv420p", {})),
                ("to-422", ("yuv420p", {}), ("yuv422p", {})),
                ("to-10-bit", ("yuv420p", {}), ("yuv420p10le", {})),
                ("from-10-bit", ("yuv420p10le", {}), ("yuv420p", {})),
                ("to-full-range", ("yuv420p", {}), ("yuvj420p", {})),
            )
        ),
    ],
)
def test_picture_forms_that_change_under_way(
    tmp_path: Path, suffix: str, content: Any, after_wh: tuple[int, int]
) -> None:
    path, made = tmp_path / f"v{suffix}", content()
    if isinstance(made, bytes):
        path.write_bytes(made)
    else:
        write_jpegs(path, made)
    seen = read(path)
    assert numbers(seen) == list(range(24))
    sizes = [one.shape[1::-1] for one in seen if not isinstance(one, str)]
    assert [size_of(sizes[:12]), size_of(sizes[12:])] == [(160, 120), after_wh]


def test_interlaced_motion_is_not_torn(tmp_path: Path) -> None:
    options = {**INTERLACED, "crf": "10"}
    seen = read(write_pictures(tmp_path / "v.mp4", "libx264", "yuv420p", fields_of_motion(8), options=options))
    assert len(seen) == 8
    for index, picture in enumerate(seen):
        assert not isinstance(picture, str)
        row_means = picture[40:88, :, 0].astype(int)
        torn = np.abs(np.diff(row_means, axis=0)).max()
        left = int(np.flatnonzero(picture[64, :, 0] > 130)[0])
        assert torn < 40, f"frame {index}: neighbouring rows differ by {torn}"
        assert abs(left - (16 + 4 * index)) <= 2, "the square stands where the first field saw it"


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_video_filmed_on_its_side_is_turned_upright(tmp_path: Path, degrees: int) -> None:
    plain = read(write(tmp_path / "p.mp4", "libx264", "yuv420p", frames=3))
    turned = read(write(tmp_path / "t.mp4", "libx264", "yuv420p", frames=3, rotation=degrees))
    for before, after in zip(plain, turned, strict=True):
        assert np.array_equal(np.asarray(after), np.rot90(np.asarray(before), degrees // 90))


def test_frames_built_on_what_was_lost_are_no_pictures(tmp_path: Path) -> None:
    pieces = encoded("libx264", "yuv420p", range(24))
    data, key, number = pieces[10]
    broken = bytearray(data)
    for at in range(len(broken) // 3, len(broken), 7):
        broken[at] ^= 0xFF
    path = tmp_path / "v.h264"
    path.write_bytes(joined(pieces[:10], [(bytes(broken), key, number)], pieces[11:]))
    seen = numbers(read(path))
    assert seen[:10] == list(range(10))
    assert seen[-8:] == list(range(16, 24)), "the next key frame mends it"
    assert set(seen[10:-8]) <= {"bad"}
    assert "bad" in seen


def test_broken_motion_jpegs_are_no_pictures(tmp_path: Path) -> None:
    made = [textured_jpeg(seed) for seed in range(6)]
    made[2] = made[2][: len(made[2]) // 2]
    flipped = bytearray(made[4])
    for at in range(len(flipped) // 3, len(flipped), 97):
        flipped[at] ^= 0x55
    made[4] = bytes(flipped)
    seen = read(write_jpegs(tmp_path / "v.avi", made))
    pictures = [one for one in seen if not isinstance(one, str)]
    assert len(pictures) == 4
    for picture, seed in zip(pictures, (0, 1, 3, 5), strict=True):
        assert np.abs(picture.astype(int) - texture(seed).astype(int)).mean() < 12


def texture(seed: int) -> Pixels:
    coarse = np.random.default_rng(seed).integers(0, 255, (15, 20, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC), np.uint8)


def textured_jpeg(seed: int) -> bytes:
    return cv2.imencode(".jpg", texture(seed))[1].tobytes()


def test_stream_joined_in_the_middle_starts_at_its_key_frame(tmp_path: Path) -> None:
    path = tmp_path / "v.h264"
    path.write_bytes(joined(encoded("libx264", "yuv420p", range(24))[3:]))
    assert numbers(read(path)) == list(range(8, 24))


def test_video_without_one_whole_picture_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "v.h264"
    path.write_bytes(joined(encoded("libx264", "yuv420p", range(24), options={"g": "100"})[3:]))
    with pytest.raises(CameraError, match="no video"):
        read(path)


def test_pictures_larger_than_allowed_under_way_are_refused(tmp_path: Path) -> None:
    path = write_jpegs(tmp_path / "v.avi", jpegs(FIRST) + jpegs(SECOND, size_wh=(320, 240)))
    seen = read(path, max_pixels=160 * 120)
    assert numbers(seen) == [*FIRST, *(["bad"] * 12)]
    assert "320x240 pixels, the limit is 19200" in str(seen[-1])


def test_video_with_metadata_that_is_no_text_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mp4", "libx264", "yuv420p", frames=3)
    path.write_bytes(path.read_bytes().replace(b"Lavf", b"\xe9\xff\xfe\xfa"))
    assert numbers(read(path)) == [0, 1, 2]


def test_interlaced_video_shows_its_people(test_data: Path) -> None:
    path = test_data / "reports" / "daemon" / "h264i.mp4"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    seen = read(path)
    assert len(seen) == 50
    assert all(not isinstance(one, str) and one.std() > 50 for one in seen)
