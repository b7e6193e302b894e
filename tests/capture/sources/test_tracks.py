"""Videos with more in them than pictures in order: covers, sound, gaps, beginnings in the middle."""

from __future__ import annotations

import struct
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from edged.capture.sources.once import InlineSource
from edged.capture.spec import CameraSpec
from edged.core.errors import CameraError, DataError
from tests.capture.support import number_of, numbered_picture, playing_server
from tests.capture.videos import SIZE_WH, encoded, jpeg, jpegs, transport_stream, write, write_jpegs

ONE_SCENE = {"sc_threshold": "1000000000"}  # no key frames but each eighth
QUIET_265 = {"x265-params": "log-level=none:bframes=0:scenecut=0:keyint=8"}


def numbers(path: Path) -> list[int | str]:
    seen: list[int | str] = []
    with InlineSource(CameraSpec(name="gate", source=str(path), pace="fast", loop=False)) as source:
        while True:
            try:
                frame = source.read()
            except DataError:
                seen.append("bad")
                continue
            if frame is None:
                return seen
            seen.append(number_of(frame.pixels))


def test_cover_picture_is_not_taken_for_the_video(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        cover = container.add_stream("mjpeg", rate=25)
        assert isinstance(video, av.VideoStream) and isinstance(cover, av.VideoStream)
        for track, form in ((video, "yuv420p"), (cover, "yuvj420p")):
            track.width, track.height = SIZE_WH
            track.pix_fmt = form
        cover.disposition = Disposition.attached_pic
        container.start_encoding()
        packet = av.Packet(jpeg(40))
        packet.stream, packet.time_base, packet.pts, packet.dts = cover, Fraction(1, 25), 0, 0
        container.mux(packet)
        for number in range(12):
            picture = av.VideoFrame.from_ndarray(numbered_picture(number, SIZE_WH), format="bgr24")
            frame = picture.reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    path.write_bytes(with_metadata_first(path.read_bytes()))
    with av.open(str(path)) as made:
        assert [Disposition.attached_pic in each.disposition for each in made.streams.video] == [True, False]
    assert numbers(path) == list(range(12))


def with_metadata_first(content: bytes) -> bytes:
    """An MP4 whose `udta` stands in front of its tracks, as some programs write it; `moov` is the last box."""
    at = content.index(b"moov") - 4
    inner, boxes = content[at + 8 :], []
    while inner:
        size = struct.unpack(">I", inner[:4])[0]
        boxes.append(inner[:size])
        inner = inner[size:]
    boxes.sort(key=lambda box: [b"mvhd", b"udta"].index(box[4:8]) if box[4:8] in {b"mvhd", b"udta"} else 2)
    return content[: at + 8] + b"".join(boxes)


def test_mpeg4_that_begins_between_key_frames_shows_no_grey_pictures(tmp_path: Path) -> None:
    path = tmp_path / "v.avi"
    pieces = encoded("mpeg4", "yuv420p", range(24), options={"flags": "+global_header", **ONE_SCENE})
    with av.open(str(write(tmp_path / "whole.avi", "mpeg4", "yuv420p"))) as whole, av.open(str(path), "w") as cut:
        track = cut.add_stream_from_template(whole.streams.video[0])
        for index, (data, key, _) in enumerate(pieces[3:]):
            packet = av.Packet(data)
            packet.stream, packet.time_base, packet.pts, packet.dts = track, Fraction(1, 25), index, index
            packet.is_keyframe = key
            cut.mux(packet)
    assert numbers(path) == [*["bad"] * 5, *range(8, 24)]


@pytest.mark.parametrize(("codec", "name"), [("libx264", "h264"), ("libx265", "hevc"), ("mpeg2video", "mpeg2video")])
def test_loss_that_the_container_knows_of_shows_no_picture_that_builds_on_it(
    tmp_path: Path, codec: str, name: str
) -> None:
    options = {"libx264": {}, "libx265": QUIET_265}.get(codec, ONE_SCENE)
    sent = transport_stream(encoded(codec, "yuv420p", range(24), options=options), name)
    at = next(
        index for index in range(10, 16) if len(sent[index]) >= 2 * 188
    )  # a piece of several packets of 188 bytes
    sent[at] = sent[at][:-188]
    path = tmp_path / "v.ts"
    path.write_bytes(b"".join(sent))
    seen = numbers(path)
    whole = [number for number in seen if number != "bad"]
    first_lost = whole.index(16)
    assert at - 3 < first_lost <= at, "what is sent at a time ends one of the pictures before"
    assert whole == [*range(first_lost), *range(16, 24)]


def test_empty_piece_in_the_middle_ends_nothing(tmp_path: Path) -> None:
    """As programs write into AVI for a frame that they dropped."""
    path = write_jpegs(tmp_path / "v.avi", jpegs(range(24)))
    content = bytearray(path.read_bytes())
    at = content.index(b"00dc" + struct.pack("<I", len(jpeg(12))) + jpeg(12)) + 4
    size = len(jpeg(12)) + len(jpeg(12)) % 2
    # The piece becomes an empty one and a piece of rubbish of another name.
    content[at : at + 4] = struct.pack("<I", 0)
    content[at + 4 : at + 12] = b"JUNK" + struct.pack("<I", size - 8)
    path.write_bytes(content)
    seen = [number for number in numbers(path) if number != "bad"]
    assert seen[:12] == list(range(12))
    assert seen[-11:] == list(range(13, 24))


def test_sound_that_goes_on_does_not_hide_that_the_picture_stands_still(tmp_path: Path) -> None:
    path = tmp_path / "v.ts"
    with av.open(str(path), "w", format="mpegts") as container:
        video = container.add_stream("libx264", rate=25, options={"g": "8", "bf": "0", "tune": "zerolatency"})
        sound = container.add_stream("aac", rate=48_000)
        assert isinstance(video, av.VideoStream) and isinstance(sound, av.AudioStream)
        video.width, video.height = SIZE_WH
        video.pix_fmt = "yuv420p"
        for second in range(40):
            if second < 3:
                for number in range(25):
                    picture = numbered_picture(number, SIZE_WH)
                    frame = av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(format="yuv420p")
                    frame.pts, frame.time_base = 25 * second + number, Fraction(1, 25)
                    container.mux(video.encode(frame))
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 48_000), np.float32), format="fltp", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = 48_000, 48_000 * second, Fraction(1, 48_000)
            container.mux(sound.encode(samples))
        container.mux(video.encode(None))
    content = path.read_bytes()
    step = 188 * 20
    portions = [content[index : index + step] for index in range(0, len(content), step)]
    with playing_server(portions) as port:
        spec = CameraSpec(
            name="gate", source=f"http://127.0.0.1:{port}/video", open_timeout_s=4, read_timeout_s=1, frozen_after_s=0
        )
        with InlineSource(spec) as source:
            times_s = [time.monotonic()]
            with pytest.raises(CameraError, match="no answer within"):
                times_s.extend(time.monotonic() for _ in iter(source.read, None))
            assert len(times_s) > 25
            assert time.monotonic() - times_s[-1] < 5
