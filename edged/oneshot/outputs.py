"""Writes the results of `edged detect`: annotated pictures and videos, and JSON lines."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

import cv2

from edged.annotate import Outline, annotated
from edged.core.errors import UsageError
from edged.core.events import Event
from edged.core.types import Frame, FrameResult
from edged.oneshot.sources import Item
from edged.publish.event_payload import event_payload
from edged.publish.identity import Origin
from edged.publish.payload import Payload, detections_payload, encode

DEFAULT_FPS = 10.0  # of a written video whose source claims no rate


class Pictures:
    """Writes `DIR/NAME.jpg` for a picture and `DIR/NAME.mp4` for other sources.

    Args:
        directory: made if missing.
        classes: names by class id.
        outlines: areas and lines to draw into every video.

    Raises:
        UsageError: the directory cannot be made or written.
    """

    def __init__(self, directory: Path, *, classes: tuple[str, ...], outlines: Sequence[Outline] = ()) -> None:
        self._directory, self._classes, self._outlines = directory, classes, outlines
        self._writers: dict[str, tuple[cv2.VideoWriter, tuple[int, int]]] = {}
        self.written: list[Path] = []
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise UsageError(f"--out {directory}: {exc.strerror}") from exc

    def write(self, item: Item, frame: Frame, result: FrameResult, *, fps: float, numbers: Mapping[str, int]) -> None:
        """Draw one frame's detections and write it; a change of size starts a new video.

        Args:
            item: the frame's source.
            frame: as captured.
            result: what was found in it.
            fps: of the written video; 0 for the default.
            numbers: a short number for each event.

        Raises:
            UsageError: the file cannot be written.
        """
        milliseconds = result.timings["detect"]
        caption = f"{milliseconds:.1f} ms  {1000 / max(milliseconds, 1e-3):.0f} fps"
        names = [f"#{numbers[event]}" if event in numbers else "" for event in result.events]
        outlines = () if item.is_picture else self._outlines
        image = annotated(
            frame.pixels, result.detections, classes=self._classes, caption=caption, names=names, outlines=outlines
        )
        if item.is_picture:
            self._write_picture(self._directory / f"{item.name}.jpg", image)
        else:
            self._writer(item, frame.meta.size_wh, fps).write(image)

    def _write_picture(self, path: Path, image: cv2.typing.MatLike) -> None:
        coded, data = cv2.imencode(".jpg", image)
        if not coded:
            raise UsageError(f"{path}: the picture cannot be encoded as JPEG")
        try:
            path.write_bytes(data.tobytes())
        except OSError as exc:
            raise UsageError(f"{path}: cannot be written: {exc.strerror}") from exc
        self.written.append(path)

    def _writer(self, item: Item, size_wh: tuple[int, int], fps: float) -> cv2.VideoWriter:
        known = self._writers.get(item.name)
        if known and known[1] == size_wh:
            return known[0]
        if known:
            known[0].release()
        stem = item.name if not known else f"{item.name}-{size_wh[0]}x{size_wh[1]}"
        path = self._directory / f"{stem}.mp4"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps or DEFAULT_FPS, size_wh)
        if not writer.isOpened():
            raise UsageError(
                f"{path}: the video cannot be written", remedy="is the folder writable and the disk not full?"
            )
        self._writers[item.name] = (writer, size_wh)
        self.written.append(path)
        return writer

    def close(self) -> None:
        """Finish the videos, so that they can be played."""
        for writer, _ in self._writers.values():
            writer.release()
        self._writers.clear()


class _Lines:
    """Writes JSON objects with a field `source`, one per line.

    Args:
        target: a file, or `-` for standard output.
        option: that names it, for messages.
        origin: device, model and session that the objects name.

    Raises:
        UsageError: the file cannot be opened.
    """

    def __init__(self, target: str, *, option: str, origin: Origin) -> None:
        self._origin = origin
        self._file: IO[bytes] = sys.stdout.buffer
        if target != "-":
            try:
                self._file = Path(target).open("wb")  # noqa: SIM115 - closed by close()
            except OSError as exc:
                raise UsageError(f"{option} {target}: {exc.strerror}") from exc

    def _write(self, payload: Payload, source: str) -> None:
        # A file name may not be UTF-8; JSON must be.
        payload["source"] = source.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        self._file.write(encode(payload) + b"\n")

    def close(self) -> None:
        """Flush and close."""
        self._file.flush()
        if self._file is not sys.stdout.buffer:
            self._file.close()


class EventLines(_Lines):
    """Writes `edged.events/1` objects with a field `source`, one per line."""

    def write(self, event: Event, *, source: str) -> None:
        """Write a message of an event; `source` must hold no credentials."""
        self._write(event_payload(event, self._origin, published_at=datetime.now(timezone.utc)), source)


class JsonLines(_Lines):
    """Writes `edged.detections/1` objects with a field `source`, one per line."""

    def write(self, result: FrameResult, *, source: str) -> None:
        """Write the line of one frame; `source` must hold no credentials."""
        speaker = self._origin
        payload = detections_payload(
            result,
            device=speaker.device,
            model=speaker.model,
            classes=speaker.classes,
            boot_id=speaker.boot_id,
            session=speaker.session,
            published_at=datetime.now(timezone.utc),
        )
        self._write(payload, source)
