"""The kind of a source, told by its text and, for files, by their content."""

from __future__ import annotations

import glob
import os
import stat
from enum import Enum

from edged.core.errors import CameraError, DamagedFile
from edged.core.picture_header import MAGIC_BYTES, picture_type
from edged.core.redact import redact
from edged.core.sources import ACCEPTED, foreign_scheme, scheme_of

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"})


class Kind(Enum):
    """How a source is opened."""

    PATTERN = "pattern"
    GSTREAMER = "gstreamer"
    NETWORK = "network"
    DEVICE = "device"
    VIDEO = "video"
    PICTURES = "pictures"


def kind_of(source: str) -> Kind:
    """The kind of `source`; looks at the file where it names one.

    Raises:
        CameraError: nothing is there, or it cannot be a source.
    """
    if foreign := foreign_scheme(source):
        raise CameraError(f"source {redact(source)}: scheme {foreign} is not supported", remedy=f"use {ACCEPTED}")
    if scheme_of(source):
        return Kind.NETWORK
    if source == "test:" or source.startswith("test:?"):
        return Kind.PATTERN
    if source.startswith("gst:"):
        return Kind.GSTREAMER
    if source.isdecimal():
        return Kind.DEVICE
    return _kind_of_path(source)


def _kind_of_path(source: str) -> Kind:
    try:
        mode = os.stat(source).st_mode
    except OSError as exc:
        if glob.has_magic(source):
            return Kind.PICTURES
        if source.startswith("/dev/video"):
            return Kind.DEVICE  # whose opener says which devices there are
        raise CameraError(f"{source!r} cannot be opened: {exc.strerror}", remedy=f"name {ACCEPTED}") from exc
    if stat.S_ISCHR(mode):
        return Kind.DEVICE
    if stat.S_ISDIR(mode):
        return Kind.PICTURES
    if not stat.S_ISREG(mode):
        raise CameraError(f"{source!r} is neither a file nor a folder nor a video device", remedy=f"name {ACCEPTED}")
    return Kind.PICTURES if _is_picture(source) else Kind.VIDEO


def _is_picture(path: str) -> bool:
    """By content; an empty file by its name, so that the later error calls it what its owner means."""
    try:
        with open(path, "rb") as file:
            head = file.read(MAGIC_BYTES)
    except OSError as exc:
        raise CameraError(f"{path!r} cannot be read: {exc.strerror}") from exc
    if not head:
        return os.path.splitext(path)[1].lower() in PICTURE_SUFFIXES
    suffix = os.path.splitext(path)[1].lower()
    if suffix in PICTURE_SUFFIXES and not picture_type(head) and _is_text(head):
        raise DamagedFile(f"{path!r} is named {suffix} but holds text: {head.decode('ascii')!r}")
    return bool(picture_type(head))


def _is_text(head: bytes) -> bool:
    return head.isascii() and all(letter.isprintable() or letter.isspace() for letter in head.decode("ascii"))
