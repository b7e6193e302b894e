"""Chooses frames: spread over each source, by a seed, without near-duplicates; reports unreadable ones."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from edged.core.errors import CameraError, DataError, EdgedError, UsageError
from edged.core.redact import redact, remember_source
from edged.core.stderr import redacted_stderr
from edged.core.trust import USUAL, Trust
from edged.core.types import Pixels
from provisioning.data.pictures import FORMATS
from provisioning.frames.frameset import FrameRecord, FrameSet, pixels_sha256, uses
from provisioning.frames.sources import Unreadable, folder_candidates, is_stream, stream_candidates, video_candidates

logger = logging.getLogger(__name__)

DEFAULT_COUNT = 200
DEFAULT_VERIFICATION = 50
_THUMBNAIL_WH = (48, 27)
_SAME_GREYS = 12.0  # grey levels; a thumbnail pixel that differs more shows movement, not noise


class Distinct:
    """Recognises near-duplicates; it remembers pictures as small grey thumbnails."""

    def __init__(self) -> None:
        self._seen = np.empty((0, _THUMBNAIL_WH[0] * _THUMBNAIL_WH[1]), np.float32)

    def admit(self, pixels: Pixels) -> bool:
        """Whether no similar picture was admitted before; if so, this one is remembered.

        Args:
            pixels: (H, W, 3) uint8 BGR.
        """
        small = cv2.cvtColor(cv2.resize(pixels, _THUMBNAIL_WH, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
        row = small.reshape(1, -1).astype(np.float32)
        if len(self._seen) and np.abs(self._seen - row).max(axis=1).min() <= _SAME_GREYS:
            return False
        self._seen = np.concatenate((self._seen, row))
        return True


def sample(
    sources: Sequence[str],
    folder: Path,
    *,
    count: int = DEFAULT_COUNT,
    verification: int = DEFAULT_VERIFICATION,
    seed: int = 0,
    every_s: float = 2.0,
    trust: Trust = USUAL,
) -> FrameSet:
    """Choose frames and write them as PNG, with their list, into `folder`: all of them or nothing.

    Args:
        sources: video files, folders of pictures, picture lists, cameras and streams; each gives an equal share.
        folder: must not exist, or be empty.
        count: frames for calibration.
        verification: frames for verification, which calibration does not use.
        seed: the same files, counts and seed choose the same frames.
        every_s: seconds between two frames of a live stream, > 0.
        trust: whose certificates are accepted of cameras.

    Raises:
        UsageError: there is no source, a number is out of range, or `folder` is not empty.
        DataError: a source cannot be read, or no source has a usable frame.
        CameraError: a stream cannot be opened.
        EdgedError: `folder` cannot be written.
    """
    if not sources or count < 1 or verification < 0:
        raise UsageError(f"expected sources and at least one frame, got {len(sources)} sources and {count} frames")
    for source in sources:
        remember_source(source)
    temporary = folder.with_name(f".{folder.name}.sampling")
    missing = [parent for parent in folder.absolute().parents if not parent.exists()]
    try:
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty", remedy="name another folder")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        with redacted_stderr():
            chosen = _choose(sources, temporary, count=count + verification, seed=seed, every_s=every_s, trust=trust)
        frames = _assigned(chosen.frames, verification)
        FrameSet(temporary, seed, frames, chosen.skipped).write_list()
        temporary.replace(folder)
    except OSError as exc:
        raise EdgedError(f"{folder} cannot be written: {exc.strerror or exc}", remedy="free space or --out") from exc
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        for parent in missing:
            with contextlib.suppress(OSError):  # it holds the frames, or was never made
                parent.rmdir()
    if len(frames) < count + verification:
        logger.warning("%d of %d frames: the sources show no more that differ", len(frames), count + verification)
    return FrameSet(folder, seed, frames, chosen.skipped)


def _assigned(frames: Sequence[FrameRecord], verification: int) -> tuple[FrameRecord, ...]:
    if not frames:
        raise DataError("no frame could be sampled", remedy="see the warnings above; name other sources")
    # With too few frames, verification keeps up to half of them: without any it could not judge the model.
    kept_apart = min(verification, len(frames) // 2)
    return tuple(
        FrameRecord(frame.file, frame.sha256, frame.source, frame.index, use)
        for frame, use in zip(frames, uses(len(frames), kept_apart), strict=True)
    )


def _choose(sources: Sequence[str], folder: Path, *, count: int, seed: int, every_s: float, trust: Trust) -> FrameSet:
    skipped: Counter[str] = Counter()
    distinct, rng = Distinct(), np.random.default_rng(seed)
    frames: list[FrameRecord] = []

    def unreadable(problem: str) -> None:
        skipped["unreadable"] += 1
        logger.warning("skipped: %s", problem)

    with tqdm(total=count, desc="sample", unit="frame", disable=None) as bar:
        for number, source in enumerate(sources):
            # The frames still wanted, divided by the sources still to come, rounded up.
            wanted = -(-(count - len(frames)) // (len(sources) - number))
            with _tolerating_a_lost_stream(frames):
                for stratum in _candidates(source, wanted, rng, unreadable, every_s=every_s, trust=trust):
                    found = _first_distinct(stratum, distinct, skipped)
                    if found is not None:
                        frames.append(_written(folder, len(frames), source, *found))
                        bar.update()
    return FrameSet(folder, seed, tuple(frames), dict(skipped))


@contextlib.contextmanager
def _tolerating_a_lost_stream(frames: Sequence[FrameRecord]) -> Iterator[None]:
    """Keep the frames of a camera that fails later; an error only if it has given none."""
    before = len(frames)
    try:
        yield
    except CameraError as exc:
        if len(frames) == before:
            raise
        logger.warning("%s; going on with %d frames of it", exc, len(frames) - before)


def _candidates(
    source: str, wanted: int, rng: np.random.Generator, unreadable: Unreadable, *, every_s: float, trust: Trust
) -> Iterator[Iterator[tuple[int, Pixels]]]:
    if is_stream(source):
        return stream_candidates(source, wanted, every_s=every_s, trust=trust)
    path = Path(source)
    if path.is_dir() or path.suffix.lower() in {*FORMATS, ".txt"}:
        return folder_candidates(path, wanted, rng, unreadable)
    if not path.exists():
        raise DataError(f"{redact(source)} does not exist")
    return video_candidates(path, wanted, rng, unreadable)


def _first_distinct(
    stratum: Iterator[tuple[int, Pixels]], distinct: Distinct, skipped: Counter[str]
) -> tuple[int, Pixels] | None:
    for index, pixels in stratum:
        if distinct.admit(pixels):
            return index, pixels
        skipped["near-duplicate"] += 1
    return None


def _written(folder: Path, number: int, source: str, index: int, pixels: Pixels) -> FrameRecord:
    name = f"{number:05d}.png"
    ok, encoded = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not ok:
        raise EdgedError(f"frame {index} of {redact(source)} cannot be encoded as PNG")
    (folder / name).write_bytes(encoded.tobytes())
    return FrameRecord(name, pixels_sha256(pixels), redact(source), index, "calibration")
