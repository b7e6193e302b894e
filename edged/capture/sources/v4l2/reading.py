"""Reads the pictures of an open device: the newest one, in memory of its own."""

from __future__ import annotations

from collections.abc import Generator
from typing import cast

import av
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream as Track

from edged.capture.sources.v4l2.opening import OpenDevice

_ALONE = frozenset({"rawvideo", "mjpeg"})  # each picture stands alone, so that any may be passed over
_MOST_QUEUED = 32  # V4L2 gives no more buffers to a program


class DevicePackets:
    """Packets of a device, with the methods of `Packets`.

    Args:
        device: opened.
        track: of it.
        timeout_s: longest time between two.

    Attributes:
        overtaken: packets that were passed over, because a newer one waited: else a slow processor would see the world
            of a second ago.
    """

    def __init__(self, device: OpenDevice, track: Track, *, timeout_s: float) -> None:
        self._device = device
        self._source = cast("Generator[Packet[Stream], None, None]", device.container.demux())
        self._alone = track.codec_context.name in _ALONE
        self._timeout_s = timeout_s
        self.overtaken = 0

    def next(self) -> Packet[Track] | None:
        """The newest packet; an empty one is a picture that the driver calls damaged. None after the last.

        Raises:
            av.FFmpegError: the device is lost.
            TimeoutError: there is no picture in time.
        """
        if not self._device.await_picture(self._timeout_s):
            raise TimeoutError
        packet = self._one()
        for _ in range(_MOST_QUEUED if self._alone else 0):
            if not self._device.await_picture(0.0):
                break
            packet = self._one()
            self.overtaken += 1
        return packet

    def _one(self) -> Packet[Track] | None:
        packet = next(self._source, None)
        return None if packet is None else _copied(cast("Packet[Track]", packet))

    def heed(self, packet: Packet[Track], frames: list[VideoFrame]) -> None:
        """Nothing to learn: a device splits no picture."""

    def close(self) -> None:
        """Let go of the driver's memory, before the device is closed."""
        self._source.close()


def _copied(packet: Packet[Track]) -> Packet[Track]:
    """A packet of a device lies in the driver's memory, which is gone with it, whoever still has a picture there."""
    copy: Packet[Track] = av.Packet(bytes(packet))  # type: ignore[assignment]
    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
    copy.is_keyframe = packet.is_keyframe
    return copy
