"""The results of a run as CSV, one line for each epoch."""

from __future__ import annotations

import csv
import io
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from edged.core.errors import EdgedError


@dataclass(frozen=True, slots=True)
class EpochResult:
    """One line of the CSV.

    Losses are means over the epoch's pictures. Precision, recall and mAP are those of the averaged weights on val, and
    NaN for an epoch without evaluation. `rate` is the largest learning rate; the rest is as in `Timing`.
    """

    epoch: int
    box_loss: float
    objectness_loss: float
    class_loss: float
    precision: float
    recall: float
    map50: float
    map50_95: float
    rate: float
    pictures_per_s: float
    waiting_share: float
    seconds: float

    @property
    def fitness(self) -> float:
        """The measure by which `best.pt` is chosen, as published with YOLOv5; NaN without evaluation."""
        return 0.1 * self.map50 + 0.9 * self.map50_95


class ResultsFile:
    """Appends lines to a CSV file.

    Args:
        path: of the file; a new file gets a heading.
        keep_before: of an existing file, lines of this epoch and later ones are removed: the resumed run writes them
            again. 0 removes all.
    """

    def __init__(self, path: Path, *, keep_before: int) -> None:
        self._path = path
        names = [field.name for field in fields(EpochResult)]
        kept = []
        if keep_before and path.exists():
            with path.open(newline="") as file:
                kept = [row for row in csv.reader(file) if row and row[0].isdigit() and int(row[0]) < keep_before]
        self._write("w", [names, *kept])

    def append(self, result: EpochResult) -> None:
        """Add one line.

        Raises:
            EdgedError: the file cannot be written.
        """
        values = [f"{value:.9g}" if isinstance(value, float) else str(value) for value in astuple(result)]
        self._write("a", [values])

    def _write(self, mode: str, rows: list[list[str]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        try:
            with self._path.open(mode, newline="") as file:
                file.write(text.getvalue())
        except OSError as exc:
            raise EdgedError(f"{self._path} cannot be written: {exc.strerror}", remedy="free some space") from exc
