"""Asks a video device what it offers, and says in words why it cannot be asked or opened. Needs no FFmpeg."""

from __future__ import annotations

import errno
import grp
import os
import stat

from edged.capture.sources.stream import OpenError
from edged.capture.sources.v4l2.node import Ioctl, Node, capture_nodes, device_ioctl, node_path
from edged.capture.sources.v4l2.offers import Offer
from edged.core.errors import CameraError


def offers_of(source: str, *, ioctl: Ioctl = device_ioctl) -> tuple[Offer, ...]:
    """What a device offers.

    Raises:
        CameraError: it cannot be asked, or is no camera.
    """
    path = node_path(source)
    _require_device(path)
    try:
        with Node(path, ioctl=ioctl) as node:
            if not node.captures:
                raise CameraError(f"{path} is {node.kind}", remedy=f"cameras here: {capture_nodes()}")
            return node.offers()
    except OSError as exc:
        raise not_open(path, exc) from exc


def _require_device(path: str) -> None:
    try:
        mode = os.stat(path)
    except OSError as exc:
        raise CameraError(f"{path}: {exc.strerror}", remedy=f"cameras here: {capture_nodes()}") from exc
    if not stat.S_ISCHR(mode.st_mode):
        raise CameraError(f"{path} is not a device")


def not_open(path: str, exc: OSError) -> CameraError:
    """What an open or an ioctl failed with, in words."""
    if exc.errno == errno.EBUSY:
        return OpenError(f"{path} is busy: another program reads it", remedy=f"see which: fuser -v {path}")
    if exc.errno in {errno.EACCES, errno.EPERM}:
        group = _group_of(path)
        return OpenError(f"{path}: permission denied", remedy=f"add the user that runs edged to the group {group!r}")
    if exc.errno in {errno.ENODEV, errno.ENXIO, errno.ENOENT}:
        return OpenError(f"{path} is not there (unplugged?)", remedy=f"cameras here: {capture_nodes()}")
    if exc.errno == errno.ENOTTY:
        return CameraError(f"{path} is no video device", remedy=f"cameras here: {capture_nodes()}")
    return OpenError(f"{path} cannot be opened: {exc.strerror}")


def _group_of(path: str) -> str:
    try:
        return grp.getgrgid(os.stat(path).st_gid).gr_name
    except (OSError, KeyError):
        return "video"
