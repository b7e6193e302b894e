"""Videos whose pictures are known, as cameras and people's tools make them, encoded by FFmpeg."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from edged.core.types import Pixels
from tests.capture.support import numbered_picture

SIZE_WH = (160, 120)
INTERLACED = {"x264-params": "interlaced=1:tff=1"}
Piece = tuple[bytes, bool, int]  # data, whether a key frame, number of its first picture


def encoded(
    codec: str,
    pixel_format: str,
    numbers: Sequence[int],
    *,
    size_wh: tuple[int, int] = SIZE_WH,
    options: dict[str, str] | None = None,
) -> list[Piece]:
    """Packets of `numbered_picture`s, in the order of decoding."""
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height = size_wh
    context.pix_fmt, context.time_base, context.framerate = pixel_format, Fraction(1, 25), Fraction(25)
    context.options = {"g": "8", "bf": "0", "sc_threshold": "0", **(options or {})}
    packets = []
    for index, number in enumerate(numbers):
        picture = av.VideoFrame.from_ndarray(numbered_picture(number, size_wh), format="bgr24")
        frame = picture.reformat(format=pixel_format)
        frame.pts = index
        packets += context.encode(frame)
    packets += context.encode(None)
    return [(bytes(packet), packet.is_keyframe, numbers[packet.pts or 0]) for packet in packets]


def joined(*parts: list[Piece]) -> bytes:
    """A raw stream (`.h264`, `.mjpeg`) of all packets."""
    return b"".join(data for part in parts for data, _, _ in part)


def transport_stream(pieces: Sequence[Piece], codec: str = "h264") -> list[bytes]:
    """MPEG-TS as broadcast: what to send for each packet, which may begin before a key frame."""
    sent = _Sent()
    with av.open(sent, "w", format="mpegts", options={"flush_packets": "1"}) as container:
        track = container.add_stream(codec, rate=25)
        assert isinstance(track, av.VideoStream)
        track.width, track.height = SIZE_WH
        track.pix_fmt = "yuv420p"
        container.start_encoding()
        portions = []
        for index, (data, key, _) in enumerate(pieces):
            packet = av.Packet(data)
            packet.stream, packet.time_base, packet.pts, packet.dts = track, Fraction(1, 25), index, index
            packet.is_keyframe = key
            container.mux(packet)
            portions.append(sent.taken())
    return portions


class _Sent:
    """Collects what a container writes."""

    def __init__(self) -> None:
        self._data = b""

    def write(self, data: bytes) -> int:
        self._data += bytes(data)
        return len(data)

    def taken(self) -> bytes:
        data, self._data = self._data, b""
        return data


def jpegs(numbers: Sequence[int], *, size_wh: tuple[int, int] = SIZE_WH, grey: bool = False) -> list[bytes]:
    """Motion JPEG as cameras send it, at night in grey."""
    return [jpeg(number, size_wh=size_wh, grey=grey) for number in numbers]


def write_jpegs(path: Path, pictures: Sequence[bytes]) -> Path:
    """A file of these JPEGs, whatever their forms."""
    with av.open(str(path), "w") as container:
        track = container.add_stream("mjpeg", rate=25)
        assert isinstance(track, av.VideoStream)
        track.width, track.height = SIZE_WH
        track.pix_fmt = "yuvj420p"
        container.start_encoding()
        for index, data in enumerate(pictures):
            packet = av.Packet(data)
            packet.stream, packet.time_base, packet.pts, packet.dts = track, Fraction(1, 25), index, index
            packet.is_keyframe = True
            container.mux(packet)
    return path


def jpeg(number: int, *, size_wh: tuple[int, int] = SIZE_WH, grey: bool = False) -> bytes:
    """One `numbered_picture`."""
    picture = numbered_picture(number, size_wh)
    coded, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) if grey else picture)
    assert coded
    return data.tobytes()


def write(
    path: Path,
    codec: str,
    pixel_format: str,
    *,
    frames: int = 24,
    size_wh: tuple[int, int] = SIZE_WH,
    options: dict[str, str] | None = None,
    rotation: int = 0,
) -> Path:
    """A file of `numbered_picture`s from 0 up."""
    pictures = [numbered_picture(number, size_wh) for number in range(frames)]
    return write_pictures(path, codec, pixel_format, pictures, options=options, rotation=rotation)


def write_pictures(
    path: Path,
    codec: str,
    pixel_format: str,
    pictures: Sequence[Pixels],
    *,
    options: dict[str, str] | None = None,
    rotation: int = 0,
) -> Path:
    """A file of these pictures, 25 a second."""
    with av.open(str(path), "w") as container:
        track = container.add_stream(codec, rate=25, options={"g": "8", **(options or {})})
        assert isinstance(track, av.VideoStream)
        track.height, track.width = pictures[0].shape[:2]
        track.pix_fmt = pixel_format
        if rotation:
            track.set_display_rotation(rotation)
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(format=pixel_format)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    return path


def fields_of_motion(frames: int) -> list[Pixels]:
    """A white square that moves between the two fields of a frame: woven together, its edges are torn."""
    pictures = []
    for index in range(frames):
        picture = np.full((128, 160, 3), 40, np.uint8)
        for field in (0, 1):
            left = 16 + 4 * index + 16 * field
            picture[32 + field : 96 : 2, left : left + 32] = 220
        pictures.append(picture)
    return pictures
