"""A folder of sampled frames, with a list of what each is and where it came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edged.core.errors import DataError
from edged.core.types import Pixels
from provisioning.data.pictures import read_picture

LIST_FILE = "frames.json"
SCHEMA = "edged.frames/1"
Use = Literal["calibration", "verification"]


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """One sampled frame.

    Attributes:
        file: name of its PNG in the folder.
        sha256: hex digest of its shape and pixels, independent of the file format.
        source: where it came from, without credentials.
        index: number of the frame in the video or stream, or of the picture in the sorted folder.
        use: `calibration`, or `verification` for frames that calibration must not use.
    """

    file: str
    sha256: str
    source: str
    index: int
    use: Use


@dataclass(frozen=True, slots=True)
class FrameSet:
    """Sampled frames on disk.

    Attributes:
        folder: holds the PNGs and the list.
        seed: of the random choice.
        frames: in the order of sampling.
        skipped: number of frames left out, by reason: `near-duplicate`, `unreadable`.
    """

    folder: Path
    seed: int
    frames: tuple[FrameRecord, ...]
    skipped: dict[str, int]

    @classmethod
    def read(cls, folder: Path) -> FrameSet:
        """Read the list that `sample` wrote into `folder`; the frames are read by `pictures`.

        Raises:
            DataError: there is no list, or it cannot be understood.
        """
        path = folder / LIST_FILE
        try:
            raw: dict[str, Any] = json.loads(path.read_text("utf-8"))
            if raw["schema"] != SCHEMA:
                raise DataError(f"{path}: schema {raw['schema']!r}, expected {SCHEMA!r}", remedy="sample again")
            frames = tuple(FrameRecord(**record) for record in raw["frames"])
            return cls(folder=folder, seed=int(raw["seed"]), frames=frames, skipped=dict(raw["skipped"]))
        except OSError as exc:
            raise DataError(f"{path} cannot be read: {exc.strerror}", remedy="run: edged-provision sample") from exc
        except (ValueError, KeyError, TypeError) as exc:
            raise DataError(f"{path} is no list of frames ({exc})", remedy="run: edged-provision sample") from exc

    def write_list(self) -> None:
        """Write the list into the folder.

        Raises:
            OSError: it cannot be written.
        """
        record = {
            "schema": SCHEMA,
            "seed": self.seed,
            "skipped": self.skipped,
            "frames": [asdict(frame) for frame in self.frames],
        }
        (self.folder / LIST_FILE).write_text(json.dumps(record, indent=1) + "\n", "utf-8")

    def of(self, use: Use) -> tuple[FrameRecord, ...]:
        """The frames for one use."""
        return tuple(frame for frame in self.frames if frame.use == use)

    def digest(self, use: Use) -> str:
        """SHA-256 (hex) over the digests of all frames for one use, in their order."""
        return hashlib.sha256("\n".join(frame.sha256 for frame in self.of(use)).encode()).hexdigest()

    def pictures(self, use: Use) -> Iterator[Pixels]:
        """The frames' pixels, (H, W, 3) uint8 BGR, one at a time.

        Raises:
            DataError: a frame is missing, cannot be read, or is not the one that was sampled.
        """
        for frame in self.of(use):
            pixels = read_picture(self.folder / frame.file)
            if pixels_sha256(pixels) != frame.sha256:
                raise DataError(f"{self.folder / frame.file} is not the frame that was sampled", remedy="sample again")
            yield pixels


def pixels_sha256(pixels: Pixels) -> str:
    """SHA-256 (hex) of a picture's shape and pixels."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def uses(count: int, verification: int) -> Sequence[Use]:
    """The use of each of `count` frames: `verification` of them, evenly spread, are for verification."""
    if not verification:
        return ["calibration"] * count
    step = count / verification
    chosen = {int((place + 0.5) * step) for place in range(verification)}
    return ["verification" if index in chosen else "calibration" for index in range(count)]
