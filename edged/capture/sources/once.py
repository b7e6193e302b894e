"""Reads a source in the calling thread: pictures, files and streams for one-shot commands."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from edged.capture.sources.reader import FrameReader
from edged.capture.sources.stream import StreamInfo
from edged.capture.spec import CameraSpec
from edged.core.types import Frame, FrameMeta

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class InlineSource:
    """Reads a camera in the calling thread, without a process of its own; a context manager.

    Args:
        spec: what to read. A decoder that hangs is not interrupted: only `Cameras` can kill one.

    Raises:
        CameraError: it cannot be opened.
    """

    def __init__(self, spec: CameraSpec) -> None:
        self._name = spec.name
        self._reader = FrameReader(spec)
        self._sequence = 0

    @property
    def info(self) -> StreamInfo:
        """Decoder, rate and whether it is live."""
        return self._reader.info

    @property
    def location(self) -> str:
        """Path or redacted address that the last frame came from."""
        return self._reader.location

    @property
    def position_s(self) -> float:
        """Media time of the last frame, seconds from the first; of no meaning where the source is live."""
        return self._reader.position_s

    def read(self) -> Frame | None:
        """The next frame, in memory of its own; None: a file, folder or glob was played to its end.

        Raises:
            CameraError: the stream is lost.
            DataError: this picture cannot be decoded; reading again gives the next.
        """
        moment = self._reader.advance()
        if moment is None:
            return None
        sequence = self._sequence
        self._sequence += 1
        pixels = self._reader.retrieve(None)
        meta = FrameMeta(
            camera=self._name,
            sequence=sequence,
            captured_at=utc(moment.wall_ns),
            captured_ns=moment.mono_ns,
            size_wh=(pixels.shape[1], pixels.shape[0]),
        )
        return Frame(meta=meta, pixels=pixels)

    def close(self) -> None:
        """Release the source; safe to call twice."""
        self._reader.close()

    def __enter__(self) -> InlineSource:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def utc(wall_ns: int) -> datetime:
    """Nanoseconds since the epoch as UTC with microseconds."""
    return _EPOCH + timedelta(microseconds=wall_ns // 1000)
