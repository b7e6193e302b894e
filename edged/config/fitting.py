"""Which keys of a camera its kind of source heeds, told by the text of the source and by what stands there now."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator

from edged.capture.sources.kinds import PICTURE_SUFFIXES
from edged.config.camera import Camera
from edged.core.redact import redact
from edged.core.sources import PREFIXES, is_path

_DEVICES_ONLY = ("size", "pixel_format", "rate")
_VIDEO_ONLY = ("decode", "fast_decode", "deinterlace")
_REMEDY = "remove it"
_IN_PIPELINE = "remove it, and say it in the pipeline"
_MOST_SHOWN = 60  # letters of a source


def misplaced(camera: Camera) -> Iterator[tuple[str, str]]:
    """Each key whose value is not its default and would do nothing, with what is wrong about it."""
    source = camera.source
    got = redact(source)
    got = repr(got if len(got) <= _MOST_SHOWN else f"{got[:_MOST_SHOWN]}...")
    if not _is_device(source):
        for key in _changed(camera, _DEVICES_ONLY):
            remedy = _IN_PIPELINE if source.startswith("gst:") else _REMEDY
            yield key, f"it is for a video device (/dev/video0, or its number), and source is {got}; {remedy}"
    if _is_undecoded(source):
        for key in _changed(camera, _VIDEO_ONLY):
            yield key, f"it is for streams, video files and video devices, and source is {got}; {_REMEDY}"


def _changed(camera: Camera, keys: tuple[str, ...]) -> list[str]:
    return [key for key in keys if getattr(camera, key) != Camera.model_fields[key].default]


def _is_device(source: str) -> bool:
    if source.isdecimal() or source.startswith("/dev/"):
        return True
    try:
        return is_path(source) and stat.S_ISCHR(os.stat(source).st_mode)
    except OSError:  # not there, or not yet: of another place than /dev it will be a file
        return False


def _is_undecoded(source: str) -> bool:
    """Whether FFmpeg does not decode it: pictures, pipelines, the drawn pattern."""
    if source.startswith(PREFIXES):
        return True
    pictures = os.path.splitext(source)[1].lower() in PICTURE_SUFFIXES or glob.has_magic(source)
    return is_path(source) and (os.path.isdir(source) or (pictures and not _is_device(source)))
