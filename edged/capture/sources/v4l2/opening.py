"""Opens a video device: asks what it offers, chooses, and has FFmpeg (PyAV) read it."""

from __future__ import annotations

import os
import select
import threading
from dataclasses import dataclass

import av
from av.codec.hwaccel import HWAccel
from av.container.input import InputContainer

from edged.capture.sources.stream import OpenError
from edged.capture.sources.transport import descriptors
from edged.capture.sources.v4l2.asking import not_open, offers_of
from edged.capture.sources.v4l2.choice import Mode, Wanted, choose
from edged.capture.sources.v4l2.node import Ioctl, Node, device_ioctl, node_path
from edged.capture.sources.v4l2.offers import NEAR, listed
from edged.capture.spec import CameraSpec
from edged.core.errors import CameraError


@dataclass(frozen=True, slots=True)
class OpenDevice:
    """A device that FFmpeg reads.

    Attributes:
        container: FFmpeg's.
        descriptor: FFmpeg's, to wait with: it waits for a picture without end itself.
        interlaced: its pictures show two moments each.
    """

    container: InputContainer
    descriptor: int
    interlaced: bool

    def await_picture(self, timeout_s: float) -> bool:
        """Wait until there is a picture or the device is lost, which reading then tells; False: neither in time."""
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))


def open_device(spec: CameraSpec, *, acceleration: HWAccel | None = None, ioctl: Ioctl = device_ioctl) -> OpenDevice:
    """Open a device with the format, size and rate that it is to have.

    Args:
        spec: the camera.
        acceleration: to decode with, of MJPEG, H.264 and H.265.
        ioctl: how the device is asked what it offers.

    Raises:
        CameraError: it cannot be opened, or does not offer what is asked of it.
    """
    path = node_path(spec.source)
    offers = offers_of(path, ioctl=ioctl)
    wanted = Wanted(spec.size_wh, spec.pixel_format, spec.rate)
    mode = choose(offers, wanted)
    if mode is None:
        asked = " ".join(filter(None, [spec.pixel_format, spec.size, f"{spec.rate:g} frames/s" * bool(spec.rate)]))
        raise CameraError(
            f"{path} does not offer {asked or 'a format that edged reads'}",
            remedy=f"it offers {listed(offers)}",
        )
    container = _within(spec.open_timeout_s, path, mode, acceleration)
    try:
        return OpenDevice(container, _descriptor(path), _require_kept(path, mode, container))
    except OSError as exc:
        container.close()
        raise not_open(path, exc) from exc
    except BaseException:
        container.close()
        raise


def _within(timeout_s: float, path: str, mode: Mode, acceleration: HWAccel | None) -> InputContainer:
    """Open with FFmpeg, which waits for the first picture without end, and no signal ends that.

    Raises:
        CameraError: not opened, or not in time; the thread then stays with the device until the process ends.
    """
    opened: list[InputContainer | BaseException] = []

    def work() -> None:
        try:
            opened.append(av.open(path, format="v4l2", options=mode.ffmpeg, hwaccel=acceleration))
        except BaseException as exc:  # noqa: BLE001 - raised by who waits
            opened.append(exc)

    thread = threading.Thread(target=work, name=f"open[{path}]", daemon=True)
    thread.start()
    thread.join(timeout_s)
    result = opened[0] if opened else None
    if result is None:
        raise OpenError(f"{path}: no picture ({mode}) within {timeout_s:.1f} s")
    if isinstance(result, OSError):
        raise not_open(path, result) from result
    if isinstance(result, BaseException):
        raise OpenError(f"{path} cannot be opened ({mode}): {result}") from result
    return result


def _descriptor(path: str) -> int:
    """FFmpeg's descriptor of the device: no other is open in this process.

    Raises:
        CameraError: it has none, which was never seen.
        OSError: the device is gone.
    """
    device = os.stat(path).st_rdev
    for number in descriptors():
        try:
            if os.fstat(number).st_rdev == device:
                return number
        except OSError:  # that of the list itself
            continue
    raise CameraError(f"internal: FFmpeg reads {path} without opening it")


def _require_kept(path: str, mode: Mode, container: InputContainer) -> bool:
    """Whether pictures are interlaced; FFmpeg goes on where the driver took another size or rate than was asked for.

    Raises:
        CameraError: it did.
        OSError: the device is gone.
    """
    with Node(path) as node:
        present = node.present()
    rate = float(next((track.average_rate for track in container.streams.video if track.average_rate), 0))
    width, height = present.size_wh
    if present.size_wh != mode.size_wh:
        raise CameraError(f"{path} was asked for {mode} and gives {width}x{height}")
    if mode.rate and rate and abs(rate - mode.rate) > NEAR * mode.rate:
        raise CameraError(f"{path} was asked for {mode} frames/s and gives {rate:.4g}", remedy="set rate to that")
    return present.interlaced
