"""The settings of one camera."""

# No `from __future__ import annotations` here: pydantic before 2.10 resolves annotations in the subclass's module.

import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Interval, MaxLen

from edged.core.names import require_camera_name
from edged.core.options import require_valid
from edged.core.redact import redact, remember_source
from edged.core.sources import ACCEPTED

Pace = Literal["realtime", "fast"]
Rotation = Literal[0, 90, 180, 270]
Acceleration = Literal["none", "any", "cuda", "vaapi"]
Transport = Literal["auto", "tcp", "udp", "multicast"]
PixelFormat = Literal[
    "", "mjpeg", "h264", "h265", "yuyv", "uyvy", "nv12", "yuv420", "yuv422", "rgb24", "bgr24", "rgb565", "grey"
]

MAX_SOURCE_LENGTH = 4096
MAX_FPS = 1000.0
MAX_KEY_INTERVAL_S = 86_400.0
KEY_FRAMES_WITHIN_S = 30.0  # cameras that save bits send one every 10 or 20 s
MAX_PIXELS = 1 << 28  # 805 MB per picture, more than any camera gives

_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})", re.ASCII)

Source = Annotated[str, MaxLen(MAX_SOURCE_LENGTH)]


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How to read a camera: the keys of `[[camera]]` that are capture's, with their ranges and defaults.

    Attributes:
        fps: most frames per second; 0 = the source's own rate. Pictures play, and are fetched, at this rate (0 = one a
            second).
        rotate: degrees clockwise.
        pace: of files: `realtime` plays at the file's own rate and drops frames like a camera, `fast` reads as fast as
            frames are consumed and drops none. Streams and devices are always realtime.
        loop: a file or folder starts again at its end; a single picture behind an address is fetched again.
        open_timeout_s: longest time to open the source, seconds.
        read_timeout_s: longest time between frames, seconds.
        frozen_after_s: a picture that does not change for so long is reported `frozen`; 0 = never.
        max_pixels: larger pictures are refused; limits the shared memory.
        transport: of RTSP: `auto` takes TCP, and UDP or multicast where the camera refuses it.
        verify: an https or rtsps camera must show a certificate for its name, from a trusted authority.
        ca_file: PEM of the authorities to trust instead of the system's; empty: the system's.
        decode: `keyframes` decodes only pictures that need no other: one every second or so, at a fraction of the cost.
        fast_decode: leave out the loop filter of H.264 and H.265: cheaper, slightly coarser pictures.
        deinterlace: `auto` takes one field of an interlaced picture, `off` takes it with its combs.
        decode_threads: of FFmpeg. More than one adds as many frames of delay to most streams.
        acceleration: the kind of device that FFmpeg decodes with, `any` for the first that works; else in
            software, and the decoder's name says why.
        size: of a video device's pictures, `1280x720`; empty: the largest within that.
        pixel_format: that a video device sends; empty: see `sources/v4l2/choice.py`.
        rate: frames per second that a video device is asked for; 0: the highest up to 30.
    """

    fps: Annotated[float, Interval(ge=0.0, le=MAX_FPS)] = 0.0
    rotate: Rotation = 0
    pace: Pace = "realtime"
    loop: bool = True
    open_timeout_s: Annotated[float, Interval(ge=0.1, le=300.0)] = 4.0
    read_timeout_s: Annotated[float, Interval(ge=0.1, le=300.0)] = 4.0
    frozen_after_s: Annotated[float, Interval(ge=0.0, le=86_400.0)] = 20.0
    max_pixels: Annotated[int, Interval(ge=1, le=MAX_PIXELS)] = 36_000_000
    transport: Transport = "auto"
    verify: bool = True
    ca_file: Annotated[str, MaxLen(MAX_SOURCE_LENGTH)] = ""
    decode: Literal["all", "keyframes"] = "all"
    fast_decode: bool = False
    deinterlace: Literal["auto", "off"] = "auto"
    decode_threads: Annotated[int, Interval(ge=1, le=64)] = 1
    acceleration: Acceleration = "none"
    size: Annotated[str, MaxLen(11)] = ""
    pixel_format: PixelFormat = ""
    rate: Annotated[float, Interval(ge=0.0, le=MAX_FPS)] = 0.0

    @property
    def size_wh(self) -> tuple[int, int]:
        """`size` as numbers; (0, 0) where it is empty."""
        return parse_size(self.size)


@dataclass(frozen=True)
class CameraSpec(ReadOptions):
    """One camera, stream, file or folder and how to read it. `redact` knows the secrets in `source` once it is made.

    Attributes:
        name: of lower-case letters, digits, `_` and `-`; part of MQTT topics.
        source: a path, folder, glob, `/dev/videoN` or its bare number, `rtsp://`, `http(s)://`, `gst:PIPELINE` or
            `test:?size=640x480&fps=30&frames=100&seed=1`.

    Raises:
        ValueError: a value of another type or out of range.
    """

    name: str
    source: Source = field(repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.source, str):
            remember_source(self.source)  # in every process that may name this camera
        try:
            require_valid(self)
            require_source(self.source)
            parse_size(self.size)
        except ValueError as exc:
            raise ValueError(f"camera {self.name!r}: {exc}") from None
        require_camera_name(self.name)

    @property
    def shown_source(self) -> str:
        """The source without user, password and query, for messages."""
        return redact(self.source)

    @property
    def silence_s(self) -> float:
        """Longest time between pictures while bytes arrive, before that is worth a word, seconds."""
        return self.read_timeout_s if self.decode == "all" else max(self.read_timeout_s, KEY_FRAMES_WITHIN_S)

    def __repr__(self) -> str:  # a traceback or debug line must not show a password
        return f"CameraSpec(name={self.name!r}, source={self.shown_source!r}, pace={self.pace!r}, fps={self.fps})"


def parse_size(size: str) -> tuple[int, int]:
    """`1280x720` -> (1280, 720), nothing -> (0, 0); raises ValueError for any other text."""
    if not size:
        return 0, 0
    if not (found := _SIZE.fullmatch(size)):
        raise ValueError(f'size must be width x height, as "1280x720", got {size!r}')
    return int(found[1]), int(found[2])


def require_source(source: str) -> None:
    """Raise ValueError for a text that can never be a source; the message does not quote it."""
    if not source.strip() or "\0" in source:
        raise ValueError(f"source must be {ACCEPTED}")
