"""Writes sheets of pictures: labels on the left, detections on the right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edged.core.errors import EdgedError
from edged.core.types import Floats, Ints, Pixels
from edged.cpu.preprocess import letterbox_image
from provisioning.data.samples import Sample
from provisioning.evaluation.prediction import Prediction

CONFIDENCE = 0.25  # only detections above it are drawn
_TILE_PX = 320
_ROWS = 4
_COLUMNS = 2  # of pairs
_LABELLED, _FOUND = (60, 180, 60), (40, 120, 240)  # green and orange, BGR


class Sheets:
    """Draws the first pictures of an evaluation and writes them as `val_1.jpg`, ...

    Args:
        names: the classes, by class id.
        folder: where to write.
        count: number of pictures; later ones are ignored.
    """

    def __init__(self, names: Sequence[str], folder: Path, *, count: int = 24) -> None:
        self._names = names
        self._folder = folder
        self._left = count
        self._pairs: list[Pixels] = []
        self.written: list[Path] = []

    def add(self, sample: Sample, pixels: Pixels, prediction: Prediction, true_xyxy: Floats, true_class: Ints) -> None:
        """Add one picture; boxes are (N, 4) float32 xyxy in its pixels. A full sheet is written.

        Raises:
            EdgedError: the folder cannot be written.
        """
        if not self._left:
            return
        self._left -= 1
        canvas, box = letterbox_image(pixels, (_TILE_PX, _TILE_PX))
        found = prediction.detections
        sure = found.confidence > CONFIDENCE
        texts = [self._names[number] for number in true_class]
        marked = _marked(canvas, box.to_network(true_xyxy), texts, _LABELLED, title=sample.picture.name)
        texts = [
            f"{self._names[number]} {confidence:.2f}"
            for number, confidence in zip(found.class_id[sure], found.confidence[sure], strict=True)
        ]
        predicted = _marked(canvas, box.to_network(found.xyxy[sure]), texts, _FOUND, title="found")
        self._pairs.append(np.hstack((marked, predicted)))
        if len(self._pairs) == _ROWS * _COLUMNS:
            self.flush()

    def flush(self) -> None:
        """Write the last sheet, if it has pictures.

        Raises:
            EdgedError: the folder cannot be written.
        """
        if not self._pairs:
            return
        grey = np.full_like(self._pairs[0], 114)
        filled = self._pairs + [grey] * (-len(self._pairs) % _COLUMNS)
        rows = [np.hstack(filled[start : start + _COLUMNS]) for start in range(0, len(filled), _COLUMNS)]
        self._pairs = []
        file = self._folder / f"val_{len(self.written) + 1}.jpg"
        _, content = cv2.imencode(".jpg", np.vstack(rows))
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.tobytes())
        except OSError as exc:
            raise EdgedError(f"{file} cannot be written: {exc.strerror}", remedy="free some space") from exc
        self.written.append(file)


def _marked(canvas: Pixels, xyxy: Floats, texts: Sequence[str], colour: tuple[int, int, int], *, title: str) -> Pixels:
    """A copy of the tile with boxes, their texts and a title."""
    tile: Pixels = canvas.copy()
    for (x1, y1, x2, y2), text in zip(np.round(xyxy).astype(int).tolist(), texts, strict=True):
        cv2.rectangle(tile, (x1, y1), (x2, y2), colour, 2)
        _write(tile, text, (x1 + 2, max(12, y1 - 4)), colour)
    _write(tile, title[:40], (4, _TILE_PX - 6), (255, 255, 255))
    return tile


def _write(tile: Pixels, text: str, place: tuple[int, int], colour: tuple[int, int, int]) -> None:
    """Draw text with a dark edge, readable on any picture; in place."""
    for edge, thickness in (((0, 0, 0), 3), (colour, 1)):
        cv2.putText(tile, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, edge, thickness, cv2.LINE_AA)
