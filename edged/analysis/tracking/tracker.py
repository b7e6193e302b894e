"""Tells the objects of one camera apart from frame to frame. All limits are in seconds: frames may give way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from edged.analysis.tracking.association import Rows, assign, overlap
from edged.analysis.tracking.motion import Doubles, Motion, MotionModel, cxcywh
from edged.analysis.tracking.track import Track

# Two rounds for sure detections, then one for the others, each with buffer and least overlap. Measured on walkers at 10
# to 2 frames a second: README.md.
NEAR, FAR, UNSURE = (0.3, 0.1), (0.6, 0.1), (0.3, 0.3)
RENAMED = 0.5  # least plain overlap with an object of another label: car, then truck
DUPLICATE = 0.7  # a detection that overlaps a tracked one more is the same object under another label
CONFIRM_HITS = 2
TENTATIVE = 0.2  # what was not confirmed is forgotten after this share of the time


class Tracker:
    """Objects of one camera, from detections that come in order of time.

    Args:
        sure: a detection with a higher score of its label may begin a track; a lower one only goes on with one.
        confirms: whether a track that was seen at least `CONFIRM_HITS` times is an object.
        lost_s: an object unseen for so long is gone.
        motion: how objects move.

    Source: association of sure detections before the others as in ByteTrack (arXiv 2110.06864), by overlap of
    buffered boxes in two rounds as in C-BIoU (arXiv 2211.14317).
    """

    def __init__(
        self,
        *,
        sure: Callable[[str], float],
        confirms: Callable[[Track], bool],
        lost_s: float,
        motion: MotionModel | None = None,
    ) -> None:
        self.sure, self.confirms, self.lost_s = sure, confirms, lost_s
        self.tracks: list[Track] = []
        self._motion = Motion(motion or MotionModel())
        self._at_s: float | None = None
        self._serial = 0

    def update(self, at_s: float, xyxy: Doubles, scores: Doubles, labels: Sequence[str]) -> list[Track | None] | None:
        """The track of each detection, begun where it is of no known object.

        Args:
            at_s: CLOCK_MONOTONIC, seconds. A frame that is not later than the one before changes nothing.
            xyxy: (N, 4), frame pixels, finite.
            scores: (N,), 0..1.
            labels: N names.

        Returns:
            N tracks, None for a detection that is of no known object and begins none; None for a frame out of order.
        """
        if self._at_s is not None and at_s <= self._at_s:
            return None
        passed_s = 0.0 if self._at_s is None else at_s - self._at_s
        self._at_s = at_s
        self._motion.predict(passed_s)
        owners = self._owners(xyxy, scores, labels)
        known = len(self.tracks)
        self._begin(at_s, owners, xyxy, scores, labels)
        self._see(at_s, owners, xyxy, scores, labels)
        seen = set(owners[owners >= 0].tolist())
        for row in set(range(known)) - seen:
            track = self.tracks[row]
            track.misses += 1
            # After a long pause one look must not be enough to miss it.
            track.absent_s += min(passed_s, self.lost_s / 2)
        return [self.tracks[row] if row >= 0 else None for row in owners.tolist()]

    def drop_gone(self) -> list[Track]:
        """Forget what was looked for in vain for `lost_s`; returns the confirmed ones."""
        stays = [track.absent_s <= self.lost_s * (1 if track.confirmed else TENTATIVE) for track in self.tracks]
        if all(stays):
            return []
        gone = [track for track, stay in zip(self.tracks, stays, strict=True) if not stay and track.confirmed]
        self._keep(stays)
        return gone

    def drop(self, unwanted: Callable[[Track], bool]) -> None:
        """Forget these."""
        self._keep([not unwanted(track) for track in self.tracks])

    def places(self) -> Doubles:
        """Where each of `tracks` should be now, (N, 4), frame pixels; it may reach beyond the frame."""
        return self._motion.xyxy()

    def _keep(self, stays: list[bool]) -> None:
        self.tracks = [track for track, stay in zip(self.tracks, stays, strict=True) if stay]
        self._motion.keep(np.array(stays, bool))

    def _owners(self, xyxy: Doubles, scores: Doubles, labels: Sequence[str]) -> Rows:
        """Row of the track of each detection (N,), -1 for none."""
        owners = np.full(len(xyxy), -1, np.intp)
        if not (self.tracks and len(xyxy)):
            return owners
        places = self._motion.xyxy()
        same = self._same(labels)
        sure = scores > np.array([self.sure(label) for label in labels])
        free = np.ones(len(self.tracks), bool)
        rounds = ((NEAR, sure, same), (FAR, sure, same), (UNSURE, ~sure, same), ((0.0, RENAMED), sure, None))
        for (buffer, least), wanted, alike in rounds:
            rows, columns = free.nonzero()[0], (wanted & (owners < 0)).nonzero()[0]
            if not len(rows):
                break
            if not len(columns):
                continue
            likeness = overlap(places[rows], xyxy[columns], buffer=buffer)
            if alike is not None:
                likeness *= alike[np.ix_(rows, columns)]
            mine, theirs = assign(likeness, least=least)
            owners[columns[theirs]] = rows[mine]
            free[rows[mine]] = False
        return owners

    def _same(self, labels: Sequence[str]) -> npt.NDArray[np.bool_] | None:
        """Which track (row) has the label of which detection (column); None where there is one label only."""
        numbers = {label: number for number, label in enumerate({*labels, *(track.label for track in self.tracks)})}
        if len(numbers) == 1:
            return None
        mine, theirs = [numbers[track.label] for track in self.tracks], [numbers[label] for label in labels]
        alike: npt.NDArray[np.bool_] = np.array(mine)[:, None] == np.array(theirs)
        return alike

    def _begin(self, at_s: float, owners: Rows, xyxy: Doubles, scores: Doubles, labels: Sequence[str]) -> None:
        """A track for each sure detection that is nobody's; `owners` is filled in."""
        for index in (owners < 0).nonzero()[0].tolist():
            score, label = float(scores[index]), labels[index]
            owned = owners >= 0
            if score <= self.sure(label) or (
                owned.any() and overlap(xyxy[index : index + 1], xyxy[owned]).max() > DUPLICATE
            ):
                continue
            self._serial += 1
            owners[index] = len(self.tracks)
            self.tracks.append(Track(self._serial, at_s, at_s, tuple(xyxy[index].tolist()), score, label))
            self._motion.add(cxcywh(xyxy[index : index + 1]))

    def _see(self, at_s: float, owners: Rows, xyxy: Doubles, scores: Doubles, labels: Sequence[str]) -> None:
        seen = (owners >= 0).nonzero()[0]
        if not len(seen):
            return
        self._motion.correct(owners[seen], cxcywh(xyxy[seen]))
        found = zip(owners[seen].tolist(), xyxy[seen].tolist(), scores[seen].tolist(), seen.tolist(), strict=True)
        for row, box, score, index in found:
            track = self.tracks[row]
            track.see(at_s, tuple(box), score, labels[index])
            if not track.confirmed and track.hits >= CONFIRM_HITS:
                track.confirmed = self.confirms(track)
