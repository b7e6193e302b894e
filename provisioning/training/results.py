"""The table of a run, one line an epoch, as CSV; cut back when a run resumes."""

from __future__ import annotations

import csv
import io
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from edged.core.errors import EdgedError


@dataclass(frozen=True, slots=True)
class EpochResult:
    """One line. Losses are means over the epoch's pictures; P, R and mAP are of the averaged weights on val.

    They are NaN for an epoch that was not evaluated.
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
        """What `best.pt` is chosen by, as published with YOLOv5."""
        return 0.1 * self.map50 + 0.9 * self.map50_95


class ResultsFile:
    """Appends lines to a CSV file.

    Args:
        path: the file; made with its heading when it is not there.
        keep_before: lines of this epoch and later ones are dropped: the resumed run writes them again.
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
            EdgedError: the disk is full.
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
