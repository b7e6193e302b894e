"""Converts a decoded frame of FFmpeg to BGR pixels: any pixel format, interlaced or not, turned upright.

Interlaced video shows two moments in one frame, one in the even lines and one in the odd. Of such a frame the top
field is taken and stretched to the frame's height: this needs no other frame, adds no delay and leaves no comb edges.
"""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.frame import VideoFrame

from edged.core.errors import DataError
from edged.core.types import Pixels

_TICK = Fraction(1, 1_000_000)  # a filter graph needs a time base; nothing here depends on it
_UPRIGHT = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


class Converter:
    """Converts frames one after the other. Filters are built again when the frames' format changes.

    Args:
        deinterlace: of an interlaced frame take one field; else the frame as it is.
    """

    def __init__(self, *, deinterlace: bool = True) -> None:
        self._deinterlace = deinterlace
        self._kind: tuple[object, ...] = ()
        self._graph = Graph()  # kept here: its filters do not keep it alive
        self._entry: FilterContext | None = None
        self._exit: FilterContext | None = None

    def bgr(self, frame: VideoFrame, into: Pixels | None) -> Pixels:
        """The frame as (H, W, 3) uint8 BGR: in `into` where its shape fits, else in a new array.

        Raises:
            DataError: this frame cannot be converted.
        """
        try:
            self._fit(frame)
            picture = self._through(frame)
        except (av.FFmpegError, ValueError) as exc:
            self._kind = ()
            why = exc.strerror if isinstance(exc, av.FFmpegError) else str(exc)
            raise DataError(f"a frame ({frame.format.name}) cannot be converted: {why}") from exc
        return _placed(picture, frame, into)

    def _fit(self, frame: VideoFrame) -> None:
        kind = (
            *(frame.width, frame.height, frame.format.name),
            *(frame.colorspace, frame.color_range, frame.interlaced_frame),
        )
        if kind == self._kind:
            return
        graph = Graph()
        graph.threads = 1
        source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=_TICK)
        form = graph.add("format", "pix_fmts=bgr24")
        sink = graph.add("buffersink")
        if frame.interlaced_frame and self._deinterlace:
            field = graph.add("field", "type=top")
            source.link_to(field)
            field.link_to(form)
        else:
            source.link_to(form)
        form.link_to(sink)
        graph.configure()
        self._graph, self._entry, self._exit, self._kind = graph, source, sink, kind

    def _through(self, frame: VideoFrame) -> Pixels:
        """A view of the filters' output, (h, W, 3) uint8; h is half the frame's height for a field."""
        if self._entry is None or self._exit is None:
            raise ValueError("no filters")
        self._entry.push(frame)
        picture = self._exit.pull()
        if not isinstance(picture, VideoFrame) or picture.width != frame.width:
            raise ValueError("the filters gave no picture")
        plane = picture.planes[0]
        memory: Pixels = np.frombuffer(memoryview(plane), np.uint8)
        rows = memory[: picture.height * plane.line_size].reshape(picture.height, -1)
        return rows[:, : picture.width * 3].reshape(picture.height, picture.width, 3)


def _placed(picture: Pixels, frame: VideoFrame, into: Pixels | None) -> Pixels:
    turn = _UPRIGHT.get(frame.rotation % 360)
    if turn is not None:
        if picture.shape[0] != frame.height:
            picture = _stretched(picture, frame, None)
        return np.asarray(cv2.rotate(picture, turn, into), np.uint8)
    if picture.shape[0] != frame.height:
        return _stretched(picture, frame, into)
    if into is None or into.shape != picture.shape:
        return np.array(picture, np.uint8)
    np.copyto(into, picture)
    return into


def _stretched(field: Pixels, frame: VideoFrame, into: Pixels | None) -> Pixels:
    size_wh = (frame.width, frame.height)
    return np.asarray(cv2.resize(field, size_wh, into, interpolation=cv2.INTER_LINEAR), np.uint8)
