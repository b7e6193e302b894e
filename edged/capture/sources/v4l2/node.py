"""One device node of V4L2, asked by ioctls what it is and what it offers. Asking disturbs no program that reads it."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
from collections.abc import Callable, Iterator
from types import TracebackType

from edged.capture.sources.v4l2 import uapi
from edged.capture.sources.v4l2.offers import Offer, Rates, Sizes
from edged.capture.spec import MAX_FPS

Ioctl = Callable[[int, int, bytearray], object]  # descriptor, request, question that becomes the answer
MOST = 256  # answers of one kind: no device has more, a broken driver may never say that there are none left
_NO_MORE = frozenset({errno.EINVAL, errno.ENOTTY, errno.ENODATA})  # or the driver does not list them at all


def device_ioctl(descriptor: int, request: int, room: bytearray) -> object:
    """The kernel's."""
    return fcntl.ioctl(descriptor, request, room, True)  # noqa: FBT003 - its fourth argument has no name


class Node:
    """A device node; a context manager.

    Args:
        path: of it.
        ioctl: how it is asked.

    Raises:
        OSError: it cannot be opened, or is no V4L2 device (ENOTTY).
    """

    def __init__(self, path: str, *, ioctl: Ioctl = device_ioctl) -> None:
        self._ask_device = ioctl
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self.capability = uapi.capability(self._ask(uapi.QUERYCAP, uapi.capability_room()))
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Node:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    @property
    def captures(self) -> bool:
        """Whether pictures come from this node, in the way that FFmpeg reads."""
        flags = self.capability.flags
        return bool(flags & uapi.CAPTURE and not flags & uapi.CODEC)

    @property
    def kind(self) -> str:
        """What the node is for, where it does not capture."""
        flags = self.capability.flags
        if flags & uapi.CODEC:
            return "a codec or scaler (memory to memory)"
        if flags & uapi.CAPTURE_PLANES:
            return "a camera with several planes a picture, which edged reads by gst: only"
        return "for metadata only" if flags & uapi.META else "no camera"

    def offers(self) -> tuple[Offer, ...]:
        """All that the node offers; a size that is not listed is the present one.

        Raises:
            OSError: the device is gone.
        """
        found = [uapi.pixel_format(answer) for answer in self._each(uapi.ENUM_FMT, uapi.format_question)]
        return tuple(Offer(pixels, tuple(self._sizes(pixels)) or self._present(pixels)) for pixels in found)

    def present(self) -> uapi.Picture:
        """What the device is set to.

        Raises:
            OSError: the device is gone, or has no signal to tell it.
        """
        return uapi.picture(self._ask(uapi.G_FMT, uapi.picture_question()))

    def _sizes(self, pixels: int) -> Iterator[Sizes]:
        for answer in self._each(uapi.ENUM_FRAMESIZES, lambda index: uapi.size_question(index, pixels)):
            steps = uapi.sizes(answer)
            yield Sizes(steps.least, steps.most, steps.step, self._rates(pixels, steps.most))

    def _present(self, pixels: int) -> tuple[Sizes, ...]:
        """The size that the driver makes of the present one in this format."""
        question = uapi.picture_question(self.present().size_wh, pixels)
        size_wh = uapi.picture(self._ask(uapi.TRY_FMT, question)).size_wh
        return (Sizes(size_wh, size_wh, (1, 1), self._rates(pixels, size_wh)),)

    def _rates(self, pixels: int, size_wh: tuple[int, int]) -> Rates:
        """Of a range of sizes the largest has the lowest rates."""
        values: set[float] = set()
        between = False
        for answer in self._each(
            uapi.ENUM_FRAMEINTERVALS, lambda index: uapi.interval_question(index, pixels, size_wh)
        ):
            steps = uapi.intervals(answer)
            between |= steps.least != steps.most
            values |= {below / above for above, below in (steps.least, steps.most) if above and below}
        return Rates(tuple(sorted({min(rate, MAX_FPS) for rate in values}, reverse=True)), between and len(values) > 1)

    def _each(self, request: int, question: Callable[[int], bytearray]) -> Iterator[bytes]:
        """The answers for index 0, 1, ... until there are no more."""
        for index in range(MOST):
            try:
                yield self._ask(request, question(index))
            except OSError as exc:
                if exc.errno in _NO_MORE:
                    return
                raise

    def _ask(self, request: int, room: bytearray) -> bytes:
        while True:
            try:
                self._ask_device(self._descriptor, request, room)
            except InterruptedError:
                continue
            return bytes(room)


def node_path(source: str) -> str:
    """The path of a device: `0` -> `/dev/video0`."""
    return f"/dev/video{int(source)}" if source.isdecimal() else source


def capture_nodes(*, ioctl: Ioctl = device_ioctl, pattern: str = "/dev/video*") -> str:
    """The nodes here that give pictures, with their names, for messages; those that cannot be asked are said so."""
    told = []
    for path in sorted(glob.glob(pattern)):
        try:
            with Node(path, ioctl=ioctl) as node:
                told += [f"{path} ({node.capability.card})"] * node.captures
        except OSError as exc:
            told.append(f"{path} ({exc.strerror})")
    return ", ".join(told) or "none"
