"""Which of FFmpeg's hardware decoders works here, and why none does."""

from __future__ import annotations

from dataclasses import dataclass

import av
from av.codec.hwaccel import HWAccel, hwdevices_available

from edged.capture.sources.stream import HardwareLost
from edged.capture.spec import Acceleration


@dataclass(frozen=True, slots=True)
class Hardware:
    """What to decode with.

    Attributes:
        name: of the kind of device, as FFmpeg has it; empty where none was opened.
        acceleration: to open a source with; None: software.
        refusal: why none was opened; empty where one was, or none was wanted.
    """

    name: str = ""
    acceleration: HWAccel | None = None
    refusal: str = ""

    def way(self, codec: str, *, used: bool) -> str:
        """`hardware (cuda)`, `software`, or `software (...)` with the reason.

        Args:
            codec: name of the decoder.
            used: whether it works with the device.
        """
        if used:
            return f"hardware ({self.name})"
        reason = f"{self.name} does not decode {codec}" if self.name else self.refusal
        return f"software ({reason})" if reason else "software"


def hardware_for(wanted: Acceleration) -> Hardware:
    """Open the wanted kind of device once, to know that it works; of `any` the first that does.

    A codec that it does not decode is decoded in software all the same.
    """
    if wanted == "none":
        return Hardware()
    built = hwdevices_available()
    if wanted != "any" and wanted not in built:
        return Hardware(refusal=f"this FFmpeg was built without {wanted}")
    refusals = []
    for name in built if wanted == "any" else (wanted,):
        try:
            HWAccel(name).create(av.Codec("h264", "r"))
        except NotImplementedError:
            continue  # for other codecs or for encoding only
        except (av.FFmpegError, OSError, ValueError, RuntimeError) as exc:
            refusals.append(f"{name}: {_cause(exc)}")
            continue
        return Hardware(name, HWAccel(name, allow_software_fallback=True))
    return Hardware(refusal="; ".join(refusals) or f"this FFmpeg has no hardware decoder{_of(wanted)}")


def require_working(device: str, exc: av.FFmpegError) -> None:
    """Raise HardwareLost where a decoder's error is not about the bytes that it was given.

    Args:
        device: kind of device in use; empty: none, then nothing is raised.
        exc: the error.
    """
    if device and not isinstance(exc, av.error.InvalidDataError):
        raise HardwareLost(f"{device} failed: {_cause(exc)}") from exc


def _of(wanted: str) -> str:
    return "" if wanted == "any" else f" of {wanted}"


def _cause(exc: Exception) -> str:
    """What the device's library said; FFmpeg's own error is mostly `Operation not permitted` or `Unknown error`."""
    log = exc.log if isinstance(exc, av.FFmpegError) else None
    return " ".join(str(log[-1] if log else exc).split())
