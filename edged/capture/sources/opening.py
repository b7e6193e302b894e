"""Opens files and addresses with FFmpeg (PyAV): options, time-outs, hardware, and the reason of a failure."""

from __future__ import annotations

import errno
import logging
import os
from dataclasses import dataclass

import av
from av.container.input import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream as Track

from edged.capture.sources.authorities import REMEDY, authorities
from edged.capture.sources.hardware import Hardware, hardware_for
from edged.capture.sources.kinds import Kind
from edged.capture.sources.stream import OpenError, OpenFileError, RefusedError
from edged.capture.sources.transport import OPTIONS, descriptors, transport_of
from edged.capture.sources.v4l2.opening import OpenDevice, open_device
from edged.capture.spec import MAX_FPS, CameraSpec
from edged.core.errors import CameraError, DamagedFile
from edged.core.sources import lower_scheme, scheme_of

_SECURE = frozenset({"https", "rtsps"})
# Of a broken JPEG this decoder makes a picture that is partly grey or old, unless told to fail.
_STRICT = frozenset({"mjpeg"})
_GUESSES = {
    Kind.NETWORK: "no answer in time, refused, or nothing that FFmpeg can decode",
    Kind.VIDEO: "no video that FFmpeg can decode (damaged, audio only, or not a video)",
}


@dataclass(frozen=True, slots=True)
class Opened:
    """An open file, address or device.

    Attributes:
        container: FFmpeg's.
        hardware: what it is decoded with, where its decoder works with that.
        transport: of RTSP: `tcp`, `udp` or `multicast`; else empty.
        device: where it is one.
    """

    container: InputContainer
    hardware: Hardware
    transport: str = ""
    device: OpenDevice | None = None


def _quiet() -> None:
    """Have FFmpeg's errors counted and kept for messages, but not printed."""
    av.logging.set_level(av.logging.ERROR)
    logger = logging.getLogger("libav")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def open_container(spec: CameraSpec, kind: Kind, location: str) -> Opened:
    """Open a file, address or device; FFmpeg prints nothing from now on.

    Args:
        spec: what and how.
        kind: NETWORK, VIDEO or DEVICE.
        location: what errors call it, without secrets.

    Raises:
        CameraError: it cannot be opened.
    """
    _quiet()
    hardware = hardware_for(spec.acceleration)
    if kind is Kind.DEVICE:
        device = open_device(spec, acceleration=hardware.acceleration)
        return Opened(device.container, hardware, device=device)
    # An absolute path cannot be taken for a protocol.
    address = os.path.abspath(spec.source) if kind is Kind.VIDEO else lower_scheme(spec.source)
    if kind is Kind.VIDEO and os.path.exists(address) and os.path.getsize(address) == 0:
        raise DamagedFile(f"{location!r} is empty (0 bytes)")
    before = descriptors()
    container = _open(address, spec, kind, location, hardware)
    transport = transport_of(before) if scheme_of(address).startswith("rtsp") else ""
    return Opened(container, hardware, transport)


def _open(address: str, spec: CameraSpec, kind: Kind, location: str, hardware: Hardware) -> InputContainer:
    try:
        return av.open(
            address,
            options=options_of(spec),
            metadata_errors="replace",
            timeout=(spec.open_timeout_s, spec.read_timeout_s),
            hwaccel=hardware.acceleration,
        )
    except av.error.ExitError as exc:
        raise OpenError(f"{location} cannot be opened: no answer within {spec.open_timeout_s:.1f} s") from exc
    except (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError) as exc:
        raise RefusedError(f"{location} cannot be opened: {exc.strerror}") from exc
    except av.FFmpegError as exc:
        if exc.errno == errno.EPROTONOSUPPORT and spec.transport != "auto":
            refused = f"{location} cannot be opened: it does not offer RTSP over {spec.transport}"
            raise OpenError(refused, remedy='set transport to one that it offers, or to "auto"') from exc
        secure = scheme_of(spec.source) in _SECURE
        if secure and "certificate" in (why := _last_words(exc)):
            untrusted = f"{location} cannot be opened: its certificate is not accepted: {why}"
            raise OpenError(untrusted, remedy=REMEDY) from exc
        raise _open_error(kind)(f"{location} cannot be opened: {_cause(exc, kind)}") from exc
    except OSError as exc:
        raise CameraError(f"{location!r} cannot be opened: {exc.strerror}") from exc


def _open_error(kind: Kind) -> type[CameraError]:
    return OpenFileError if kind is Kind.VIDEO else OpenError


def _cause(exc: av.FFmpegError, kind: Kind) -> str:
    if not isinstance(exc, av.error.InvalidDataError):
        return str(exc.strerror)
    detail = _last_words(exc)
    return f"{_GUESSES[kind]}: {detail}" if detail else _GUESSES[kind]


def _last_words(exc: av.FFmpegError) -> str:
    """The last line that FFmpeg logged; empty where there is none."""
    return " ".join(str(exc.log[-1]).split()) if exc.log else ""  # level, name, text; PyAV's stubs say otherwise


def options_of(spec: CameraSpec) -> dict[str, str]:
    """FFmpeg's options to open an address or file with.

    Raises:
        CameraError: the file of authorities cannot be read.
    """
    options: dict[str, str] = {}
    scheme = scheme_of(spec.source)
    if scheme:
        # Opening must not wait for a distant key frame: `grab` does, and reports what it waits for.
        options["analyzeduration"] = str(int(spec.open_timeout_s / 2 * 1e6))
    if scheme.startswith("rtsp"):
        # To guess the rate of a stream FFmpeg would read twenty frames before it gives the first: 4 s at 5 a second.
        options |= {**OPTIONS["tcp" if scheme == "rtsps" else spec.transport], "fpsprobesize": "0"}
    if scheme in _SECURE and spec.verify:
        options |= {"tls_verify": "1", "ca_file": authorities(spec)}
    return options


def open_track(opened: Opened, spec: CameraSpec, location: str) -> Track:
    """The first video track, ready to decode; a cover picture only where there is no other.

    Raises:
        CameraError: none, or none that can be decoded.
    """
    tracks = sorted(opened.container.streams.video, key=lambda track: Disposition.attached_pic in track.disposition)
    track = next(iter(tracks), None)
    if track is None:
        raise OpenFileError(f"{location} cannot be opened: no video track in it (audio only, or damaged)")
    if track.codec_context is None:
        raise CameraError(f"{location}: this FFmpeg has no decoder for its video")
    track.codec_context.thread_count = spec.decode_threads
    options = {"err_detect": "explode"} if track.codec_context.name in _STRICT else {}
    if spec.fast_decode:
        options["skip_loop_filter"] = "all"
    if opened.device and opened.device.interlaced:
        options["field_order"] = "tt"  # FFmpeg's demuxer does not pass on what the driver says
    track.codec_context.options = options
    if spec.decode == "keyframes":
        track.codec_context.skip_frame = "NONKEY"
    return track


def rate_of(track: Track) -> float:
    """Frames per second that the track claims; 0 where it claims none or one above `MAX_FPS`."""
    rate = float(track.guessed_rate or track.average_rate or 0)
    return rate if 0 < rate <= MAX_FPS else 0.0
