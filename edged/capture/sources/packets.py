"""Reads the packets of a track, one per picture; joins them where a server splits pictures into several.

Some RTSP servers (GStreamer 1.22 with x264's sliced threads, some cameras) mark the end of a picture after each of its
slices. FFmpeg then decodes every slice as a picture of its own and fills in the rest.
"""

from __future__ import annotations

import time
from typing import cast

import av
from av.container.input import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream as Track

MOST_PARTS = 16  # of one picture; more packets with one time stamp come from a server without a clock


class Packets:
    """Iterates over a track's packets; the last one is empty and draws the decoder's last frames.

    Args:
        container: opened.
        track: whose packets.
        patience_s: longest time in which only other tracks (audio) give packets; infinite for a file.

    Attributes:
        joining: packets with one time stamp are joined, which adds a delay of one frame.
        overtaken: always 0: none is passed over.
    """

    def __init__(self, container: InputContainer, track: Track, *, patience_s: float) -> None:
        self._source = container.demux()  # all tracks: of one alone PyAV would wait without end while others go on
        self._track = track.index
        self._patience_s = patience_s
        self._held: Packet[Track] | None = None
        self._parts = 0
        self._half: Packet[Track] | None = None
        self.joining = False
        self.overtaken = 0

    def next(self) -> Packet[Track] | None:
        """The next packet; None after the last.

        Raises:
            av.FFmpegError: the source failed.
            TimeoutError: only other tracks gave packets for `patience_s`.
        """
        if not self.joining:
            return self._fetched()
        while True:
            packet = self._fetched()
            held = self._held
            if packet is None or held is None or self._parts >= MOST_PARTS or not _of_one_picture(held, packet):
                self._held, self._parts = packet, 1
                if held is not None or packet is None:
                    return held
            else:
                self._held = _joined(held, packet)
                self._parts += 1

    def _fetched(self) -> Packet[Track] | None:
        until_s = time.monotonic() + self._patience_s
        try:
            for packet in self._source:
                if packet.stream.index == self._track:  # the last, empty one has no index of its own
                    return cast("Packet[Track]", packet)
                if time.monotonic() > until_s:
                    raise TimeoutError
        except IndexError:  # PyAV's, at the end of a damaged file in which tracks appeared later
            pass
        return None

    def close(self) -> None:
        """Nothing to let go of: these packets have memory of their own."""

    def heed(self, packet: Packet[Track], frames: list[VideoFrame]) -> None:
        """Start joining when two damaged key frames in a row have one time stamp: they are parts of one picture."""
        before, self._half = self._half, None
        if packet.is_keyframe and any(frame.is_corrupt for frame in frames):
            self._half = packet
            # The very first packets of an RTSP stream have no time yet.
            self.joining |= before is not None and before.pts in {None, packet.pts}


def _of_one_picture(one: Packet[Track], other: Packet[Track]) -> bool:
    return one.pts is not None and one.pts == other.pts and bool(one.size and other.size)


def _joined(one: Packet[Track], other: Packet[Track]) -> Packet[Track]:
    packet: Packet[Track] = av.Packet(bytes(one) + bytes(other))  # type: ignore[assignment]
    packet.pts, packet.dts, packet.time_base = one.pts, one.dts, one.time_base
    packet.is_keyframe = one.is_keyframe
    return packet
