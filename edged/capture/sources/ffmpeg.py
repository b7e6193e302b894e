"""Files, networks and devices through FFmpeg's libraries (PyAV): a new picture, or an error that names its cause.

OpenCV's VideoCapture reads them, too, but reports a picture where FFmpeg could not convert one: for interlaced video,
and before OpenCV 5 for a pixel format that changes during the stream, it gave black, old or uninitialised memory.
"""

from __future__ import annotations

import errno
import math
import time
from collections.abc import Callable
from dataclasses import replace

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream as Track

from edged.capture.sources.convert import Converter
from edged.capture.sources.hardware import require_working
from edged.capture.sources.kinds import Kind
from edged.capture.sources.opening import Opened, open_container, open_track, rate_of
from edged.capture.sources.packets import Packets
from edged.capture.sources.stream import StreamInfo
from edged.capture.sources.v4l2.node import node_path
from edged.capture.sources.v4l2.reading import DevicePackets
from edged.capture.spec import MAX_KEY_INTERVAL_S, CameraSpec
from edged.core.errors import CameraError, DamagedFile, DataError
from edged.core.sources import scheme_of
from edged.core.types import Pixels

DEFAULT_FPS = 25.0  # of files that claim no rate
EARLY_END = 0.5  # share of the announced frames, which many containers only estimate
SUSPECT_S = 10.0  # frames are refused this long after damage, or until a key frame; some encoders never send another
LONGEST_STEP_S = 3600.0  # between two frames' time stamps; a longer one is a broken stamp
_AWAITED = "bytes arrive, but no key frame yet"

Awaits = Callable[[str], None]


class FfmpegStream:
    """One opened file, address or device. Implements `Stream`.

    Args:
        spec: what to open and how.
        kind: NETWORK, VIDEO or DEVICE.
        awaits: told what is awaited, for each packet that arrived and gave no picture; may raise CameraError.

    Raises:
        CameraError: it cannot be opened.
    """

    def __init__(self, spec: CameraSpec, kind: Kind, *, awaits: Awaits) -> None:
        self._location = _location(spec, kind)
        self._awaits = awaits
        self._max_pixels = spec.max_pixels
        self._read_timeout_s = spec.read_timeout_s
        opened = open_container(spec, kind, self._location)
        self._container = opened.container
        self._device = opened.device
        try:
            self._track = open_track(opened, spec, self._location)
            self._info = self._describe(kind, opened)
            self._accelerated = opened.hardware.name if self._track.codec_context.is_hwaccel else ""
        except BaseException:
            self._container.close()
            raise
        self._packets = self._read_packets()
        self._ready: list[VideoFrame] = []
        self._converter = Converter(deinterlace=spec.deinterlace == "auto")
        self._frame: VideoFrame | None = None
        self._grabbed = 0
        self._pieces = 0
        self._key_s: float | None = None  # where the latest key frame was
        self._first_s: float | None = None
        self._position_s = 0.0
        self._jumped = False
        self._synced = False  # a frame came, so a decoding error is damage, not a packet before the first key frame
        # Only the H.264 decoder knows which pictures need no key frame before them; of others the first are suspect.
        self._lost_at_s = -math.inf if self._track.codec_context.name == "h264" else 0.0
        self._broken_pts: int | None = None  # of a packet that the container calls damaged
        self.damaged = 0

    @property
    def info(self) -> StreamInfo:
        """What is being read; with the second key frame their interval is known, too."""
        return self._info

    @property
    def is_snapshot(self) -> bool:
        """Whether the address seems to give a single picture, to be asked for again and again."""
        form = self._container.format.name
        return scheme_of(self._location) in {"http", "https"} and (form == "image2" or form.endswith("_pipe"))

    @property
    def position_s(self) -> float:
        """Media time of the grabbed frame, seconds from the first; decreases only after `seek`."""
        return self._position_s

    @property
    def overtaken(self) -> int:
        """Number of frames of a device that were passed over because newer ones waited behind them."""
        return self._packets.overtaken

    @property
    def location(self) -> str:
        """The file's path, or the address without secrets."""
        return self._location

    @property
    def announced(self) -> int:
        """Frames that the container says it holds, some only by an estimate; 0 where it does not say."""
        if self._track.frames:
            return self._track.frames
        return int((self._container.duration or 0) / av.time_base * (rate_of(self._track) or 0))

    def grab(self) -> bool:
        """Go to the next frame; False: the end of a file.

        Raises:
            CameraError: the stream is lost, or `awaits` gave it up. HardwareLost: the device that decodes failed.
        """
        while not self._ready:
            packet = self._next()
            if packet is None:
                return self._ended()
            self._decode(packet)
            if not self._ready and self._info.live:
                self._awaits(_AWAITED)
        self._frame = self._ready.pop(0)
        self._follow_position(self._frame)
        self._judge(self._frame)
        self._measure_keys(self._frame)
        self._grabbed += 1
        self._synced = True
        return True

    def retrieve(self, into: Pixels | None) -> Pixels:
        """The grabbed frame, (H, W, 3) uint8 BGR: in `into` itself where its shape fits, else a new array.

        Raises:
            DataError: damaged, dependent on a lost frame, too large, or not convertible; the next may be good.
        """
        frame = self._frame
        if frame is None:
            raise DataError(f"{self._location}: no frame was grabbed")
        if frame.width * frame.height > self._max_pixels:
            raise DataError(f"{self._location}: {_too_large(frame.width, frame.height, self._max_pixels)}")
        if self._position_s - self._lost_at_s < SUSPECT_S:
            raise DataError(f"{self._location}: a part of the stream was damaged or lost; waiting for a key frame")
        try:
            return self._converter.bgr(frame, into)
        except DataError as exc:
            raise DataError(f"{self._location}: {exc}") from exc

    def seek(self, position_s: float) -> bool:
        """Go to the key frame at or before a media time; the next `grab` gives it. False: failed, open it again."""
        target_s = position_s + (self._first_s or 0.0)
        try:
            self._container.seek(int(target_s / (self._track.time_base or 1)), stream=self._track)
        except av.FFmpegError:
            return False
        self._packets = self._read_packets()
        self._ready.clear()
        self._jumped, self._synced, self._broken_pts = True, False, None
        self._lost_at_s = -math.inf
        return True

    def close(self) -> None:
        """Release everything; safe to call twice."""
        self._packets.close()
        self._container.close()

    def _read_packets(self) -> Packets | DevicePackets:
        if self._device:
            return DevicePackets(self._device, self._track, timeout_s=self._read_timeout_s)
        patience_s = self._read_timeout_s if self._info.live else math.inf
        return Packets(self._container, self._track, patience_s=patience_s)

    def _next(self) -> Packet[Track] | None:
        """The next packet; an empty one draws the decoder's last frames; None at the end."""
        began_s = time.monotonic()
        awaited = "picture" if self._device else "answer"
        silence = f"{self._location}: no {awaited} within {self._read_timeout_s:.1f} s"
        try:
            packet = self._packets.next()
        except (av.error.ExitError, TimeoutError) as exc:
            raise CameraError(silence) from exc
        except av.FFmpegError as exc:
            if self._info.live:
                raise CameraError(f"{self._location}: {self._loss(exc)}") from exc
            return None  # a truncated file ends here; `_ended` checks whether too early
        # After a time-out FFmpeg may return a packet that it still held, as if the stream went on.
        if self._info.live and time.monotonic() - began_s >= self._read_timeout_s:
            raise CameraError(silence)
        return packet

    def _loss(self, exc: av.FFmpegError) -> str:
        if exc.errno == errno.ENODEV:
            return "the device was unplugged"
        # Where no length was announced, a connection that the server closed is an I/O error.
        return "the stream ended" if exc.errno == errno.EIO else f"the stream was lost: {exc.strerror}"

    def _decode(self, packet: Packet[Track]) -> None:
        self._pieces += bool(packet.size)
        if self._device and not packet.size:
            self.damaged += 1
            return
        complaints = av.logging.get_last_error()[0]
        try:
            self._ready = self._track.codec_context.decode(packet if packet.size else None)
        except av.error.EOFError:  # an empty packet in the middle ended the decoder, as the last one does
            self._track.codec_context.flush_buffers()
            return
        except av.FFmpegError as exc:
            require_working(self._accelerated, exc)
            if self._synced:
                self.damaged += 1
                self._lost_at_s = self._position_s
            return
        if self._info.live:
            self._packets.heed(packet, self._ready)
        if packet.is_corrupt and self._synced:  # the container knows of a loss; the decoder may not see it
            self._broken_pts = packet.pts
        whole = not any(frame.is_corrupt for frame in self._ready)
        self.damaged += self._synced and whole and av.logging.get_last_error()[0] > complaints

    def _judge(self, frame: VideoFrame) -> None:
        broken, pts = self._broken_pts, frame.pts
        reached = broken is not None and pts is not None and pts >= broken  # decoders give some frames late
        if reached:
            self._broken_pts = None
        whole = frame.key_frame and pts != broken
        if frame.is_corrupt or (reached and not whole):
            self._lost_at_s = self._position_s
        elif frame.key_frame:
            self._lost_at_s = -math.inf

    def _measure_keys(self, frame: VideoFrame) -> None:
        if not frame.key_frame or frame.is_corrupt or self._info.key_interval_s or self._device:
            return  # a picture of a device mostly is one; of one that came in parts each part is a damaged key frame
        before_s, self._key_s = self._key_s, self._position_s
        if before_s is not None and before_s < self._key_s:
            self._info = replace(self._info, key_interval_s=min(self._key_s - before_s, MAX_KEY_INTERVAL_S))

    def _ended(self) -> bool:
        if self._info.live:
            raise CameraError(f"{self._location}: the stream ended")
        if not self._grabbed:
            raise DamagedFile(f"{self._location!r} has no video frame that can be decoded (audio only, or damaged)")
        # A recording that begins between two key frames has packets before its first picture.
        if not self._jumped and max(self._pieces, self._grabbed) < self.announced * EARLY_END:
            raise DamagedFile(
                f"{self._location!r} is damaged: it announces {self.announced} frames, "
                f"reading stopped after {self._grabbed}"
            )
        return False

    def _describe(self, kind: Kind, opened: Opened) -> StreamInfo:
        track, fps = self._track, rate_of(self._track)
        if track.width * track.height > self._max_pixels:
            raise CameraError(f"{self._location}: {_too_large(track.width, track.height, self._max_pixels)}")
        # A file served over HTTP knows its length; a stream does not. RTSP is played by its server's clock.
        stored = scheme_of(self._location) in {"http", "https"} and self.announced > 0
        live = kind is not Kind.VIDEO and not stored
        codec = track.codec_context
        way = opened.hardware.way(codec.name, used=codec.is_hwaccel)
        # `pix_fmt` of a decoder that does not know its format yet crashes PyAV 17.
        form = f" {codec.format.name}" if kind is Kind.DEVICE and codec.format else ""
        decoder = f"FFMPEG {codec.name}{form}, {way}"
        rate = fps if live else fps or DEFAULT_FPS
        return StreamInfo(decoder=decoder, live=live, fps=rate, may_freeze=True, transport=opened.transport)

    def _follow_position(self, frame: VideoFrame) -> None:
        claimed = frame.time if frame.pts is not None else None
        if self._first_s is None:
            self._first_s = claimed
            return
        step_s = 1 / (self._info.fps or DEFAULT_FPS)
        past_s = self._position_s
        position_s = past_s + step_s if claimed is None or self._first_s is None else claimed - self._first_s
        if not self._jumped and not past_s < position_s < past_s + LONGEST_STEP_S:
            position_s = past_s + step_s
        self._position_s, self._jumped = position_s, False


def _location(spec: CameraSpec, kind: Kind) -> str:
    """What errors call it, without secrets."""
    if kind is Kind.DEVICE:
        return node_path(spec.source)
    return spec.source if kind is Kind.VIDEO else spec.shown_source


def _too_large(width: int, height: int, limit: int) -> str:
    return f"{width}x{height} pixels, the limit is {limit}"
