"""What a camera is asked to be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from edged.core.names import MAX_NAME_LENGTH, RESERVED_CAMERA_NAMES, is_name
from edged.core.redact import redact, remember_source

Pace = Literal["realtime", "fast"]
Rotation = Literal[0, 90, 180, 270]

MAX_SOURCE_LENGTH = 4096
MAX_FPS = 1000.0
MAX_PIXELS = 1 << 28  # 805 MB a picture; beyond it no camera is meant


@dataclass(frozen=True, slots=True)
class CameraSpec:
    """One camera, stream, file or folder and how to read it. From its birth `redact` knows the secrets in `source`.

    Attributes:
        name: of lower-case letters, digits, `_` and `-`; part of MQTT topics.
        source: a path, folder, glob, `/dev/videoN` or its bare number, `rtsp://`, `http(s)://`, `gst:PIPELINE` or
            `test:?size=640x480&fps=30&frames=100&seed=1`.
        pace: of files: `realtime` plays at the file's own rate and drops like a camera, `fast` is read as fast as it
            is consumed and never drops. Streams and devices are always realtime.
        loop: a file or folder starts again at its end.
        fps: at most so many frames a second; 0 = the source's own. Pictures play at this rate (0 = one a second).
        rotate: degrees clockwise.
        open_timeout_s: until the source is open, seconds.
        read_timeout_s: between frames, seconds.
        max_pixels: larger pictures are refused; bounds the shared memory.
        frozen_after_s: a live picture that stands still for so long is reported `frozen`; 0 = never.
        decode_threads: of FFmpeg. More than one adds as many frames of delay to most streams.
        acceleration: `any` lets FFmpeg decode in hardware where it can.
    """

    name: str
    source: str
    pace: Pace = "realtime"
    loop: bool = False
    fps: float = 0.0
    rotate: Rotation = 0
    open_timeout_s: float = 4.0
    read_timeout_s: float = 4.0
    max_pixels: int = 36_000_000
    frozen_after_s: float = 20.0
    decode_threads: int = 1
    acceleration: Literal["none", "any"] = "none"

    def __post_init__(self) -> None:
        if isinstance(self.source, str):
            remember_source(self.source)  # in every process that may speak of this camera
        problem = _first_problem(self)
        if problem:
            raise ValueError(f"camera {self.name!r}: {problem}")

    @property
    def shown_source(self) -> str:
        """The source without user, password and query, for messages."""
        return redact(self.source)

    def __repr__(self) -> str:  # a traceback or debug line must not show a password
        return f"CameraSpec(name={self.name!r}, source={self.shown_source!r}, pace={self.pace!r}, fps={self.fps})"


def _first_problem(spec: CameraSpec) -> str:
    """What is wrong with the values, or an empty string."""
    if not isinstance(spec.name, str) or not is_name(spec.name):
        return f"name must be 1 to {MAX_NAME_LENGTH} of a-z, 0-9, _ and - (it is part of a topic)"
    if spec.name in RESERVED_CAMERA_NAMES:
        return f"name is reserved: the device itself publishes under {', '.join(sorted(RESERVED_CAMERA_NAMES))}"
    if not isinstance(spec.source, str) or not spec.source.strip() or "\0" in spec.source:
        return "source must be a path, a device, a URL, gst:PIPELINE or test:"
    if len(spec.source) > MAX_SOURCE_LENGTH:
        return f"source must have at most {MAX_SOURCE_LENGTH} characters, got {len(spec.source)}"
    if spec.pace not in {"realtime", "fast"}:
        return f"pace must be realtime or fast, got {spec.pace!r}"
    if spec.rotate not in {0, 90, 180, 270}:
        return f"rotate must be 0, 90, 180 or 270, got {spec.rotate!r}"
    if spec.acceleration not in {"none", "any"}:
        return f"acceleration must be none or any, got {spec.acceleration!r}"
    return _number_problem(spec)


def _number_problem(spec: CameraSpec) -> str:
    ranges = {  # least, most
        "fps": (0.0, MAX_FPS),
        "open_timeout_s": (0.1, 300.0),
        "read_timeout_s": (0.1, 300.0),
        "frozen_after_s": (0.0, 86_400.0),
        "max_pixels": (1, MAX_PIXELS),
        "decode_threads": (1, 64),
    }
    for key, (least, most) in ranges.items():
        value = getattr(spec, key)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"{key} must be a number, got {value!r}"
        if not math.isfinite(value) or not least <= value <= most:
            return f"{key} must be {least} to {most}, got {value!r}"
    return ""
