"""Takes the newest frame of a camera for whoever asked to see it; without anybody it costs a look into a set."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from edged.core.types import Frame, FrameResult, Pixels
from edged.feed.wire import Message
from edged.jpeg import jpeg

MOST_WAITING = 4  # copies that wait to be encoded; a camera whose frame finds no place is asked again by its next one
MOST_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """A frame that somebody asked for.

    Attributes:
        camera: its name.
        describe: makes the message that belongs to it.
        pixels: a copy, (H, W, 3) uint8 BGR.
    """

    camera: str
    describe: Callable[[], Message]
    pixels: Pixels


class Pictures:
    """Implements `edged.core.protocols.Stage`, the last one: results pass as they are.

    Attributes:
        on_taken: called in the pipeline's thread when `take` has something to give.
        described: gives what makes the message of a result; called in the pipeline's thread, where names of classes
            are those of the result's model.
    """

    def __init__(self) -> None:
        self._wanted: set[str] = set()
        self._taken: deque[Taken] = deque(maxlen=MOST_WAITING)
        self.on_taken: Callable[[], None] = lambda: None
        self.described: Callable[[FrameResult], Callable[[], Message]] = lambda _: dict

    def want(self, camera: str) -> None:
        """Take the next frame of this camera. Any thread may call it."""
        self._wanted.add(camera)

    def unwant(self, camera: str) -> None:
        """Nobody waits for this camera any more."""
        self._wanted.discard(camera)

    def take(self) -> Taken | None:
        """The oldest frame that was taken; None where there is none."""
        try:
            return self._taken.popleft()
        except IndexError:
            return None

    def process(self, frame: Frame, result: FrameResult) -> FrameResult:
        """Copy the frame where somebody asked for it."""
        camera = frame.meta.camera
        if camera in self._wanted and len(self._taken) < MOST_WAITING:
            self._wanted.discard(camera)
            try:
                pixels = frame.pixels.copy()
            except MemoryError:  # whoever asked may ask again; detection goes on
                return result
            self._taken.append(Taken(camera, self.described(result), pixels))
            self.on_taken()
        return result

    def rest(self) -> None:
        """Nothing becomes due."""

    def forget(self, camera: str) -> None:
        """The camera was removed."""
        self._wanted.discard(camera)

    def close(self) -> None:
        """No frame follows."""
        self._wanted.clear()


def shown(pixels: Pixels, *, most_side: int) -> bytes:
    """The picture as JPEG, its longer side at most `most_side` pixels.

    Raises:
        NoPicture: it cannot be encoded.
    """
    height, width = pixels.shape[:2]
    scale = most_side / max(height, width)
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    return jpeg(pixels, most_bytes=MOST_BYTES)
