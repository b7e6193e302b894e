"""A newly activated bundle has to prove itself; where it does not, the device goes back to the one before by itself.

A bundle is on trial where it is the store's active one, another one proved itself before, and this one has not yet. It
fails where it cannot be loaded, where detection fails or hangs, where the daemon ends a third time without having been
asked to, or where frames come at less than a share of the rate that they came at with the bundle before. Then `active`
leads to the bundle before again, and the failed one is refused until somebody says otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from edged.core.bundle import ACTIVE, OBJECTS, Bundle
from edged.core.errors import EdgedError
from edged.store.links import LOCK, PREVIOUS, digest_of, point
from edged.store.lock import FileLock
from edged.store.options import ProbationOptions
from edged.store.trials import Refusal, Trials, read_trials, write_trials

MOST_STARTS = 3
CHANGED = 0.2  # a rate is noted again where it differs by more than this share

logger = logging.getLogger(__name__)


class Probation:
    """The trial of the bundle that a daemon runs, or none where it does not run a store's active one.

    Nothing here raises but what is said: a store that cannot be written must not end a daemon that works.

    Args:
        path: `[model] bundle`.
        options: as configured.
    """

    def __init__(self, path: Path, options: ProbationOptions) -> None:
        self._options = options
        self._root = path.parent if path.name == ACTIVE and (path.parent / OBJECTS).is_dir() else None
        self._digest = ""
        self._on_trial = False

    @property
    def is_about(self) -> str:
        """Digest of the bundle that `begin` found active; empty where there is none."""
        return self._digest

    @property
    def has_moved(self) -> bool:
        """Whether another bundle is active now."""
        return self._root is not None and digest_of(self._root, ACTIVE) != self._digest

    @property
    def on_trial(self) -> bool:
        """Whether the bundle that runs has yet to prove itself."""
        return self._on_trial

    def refused(self) -> Refusal | None:
        """The refusal of the bundle from which the device went back to the active one; None where it did not."""
        if self._root is None:
            return None
        told = [each for each in read_trials(self._root).refused.values() if each.back_to == self._digest]
        return max(told, key=lambda each: each.at, default=None)

    def begin(self) -> None:
        """The active bundle is about to be loaded, at the start or in place of another one.

        On trial the start is counted. Where it was started too often before, the device goes back first.
        """
        if self._root is None:
            return
        self._look()
        trials = read_trials(self._root)
        if (refused := trials.refused.get(self._digest)) is not None and self.failed(refused.reason):
            self._look()  # the device was killed while it went back
        if not self._on_trial:
            return
        starts = trials.starts.get(self._digest, 0)
        if starts >= MOST_STARTS and self.failed(f"the daemon ended {starts} times without being asked to"):
            self._look()
            return
        self._note(lambda trials: trials.started(self._digest, starts + 1))
        logger.info("%s is on trial for %.0f s", self._name(), self._options.for_s)

    def ended(self) -> None:
        """The daemon ends as it was asked to: this start does not count."""
        if self._root is None or not self._on_trial:
            return
        starts = read_trials(self._root).starts.get(self._digest, 0)
        self._note(lambda trials: trials.started(self._digest, max(0, starts - 1)))

    def failed(self, why: str) -> bool:
        """The bundle failed. Returns whether the device went back; False too where the bundle is not on trial.

        Args:
            why: one sentence, without secrets.
        """
        if self._root is None or not self._on_trial:
            return False
        try:
            name = self._name()
            back_to = self._go_back(self._root, name, why)
        except (EdgedError, OSError) as exc:
            logger.error("%s failed (%s), but the device cannot go back: %s", self._digest[:12], why, exc)  # noqa: TRY400
            return False
        if back_to:
            self._on_trial = False
            logger.error("%s failed: %s; going back to %s", name, why, back_to)
        return bool(back_to)

    def measured(self, rate: float) -> str:
        """The trial's time is over, or as long again has passed; returns why it failed, empty where it did not.

        Args:
            rate: frames a second of each camera that was there, over some of that time; above 0.
        """
        if self._root is None:
            return ""
        trials = read_trials(self._root)
        if self._on_trial:
            before = trials.accepted.get(digest_of(self._root, PREVIOUS) or "", 0.0)
            if rate < before * self._options.least_rate:
                return f"{rate:.2g} frames/s a camera, {before:.2g} with the model before"
            logger.info("%s proved itself: %.2g frames/s a camera, %.2g before", self._name(), rate, before)
            self._on_trial = False
        known = trials.accepted.get(self._digest)
        if known is None or abs(rate - known) > CHANGED * known:
            self._note(lambda trials: trials.accepting(self._digest, rate))
        return ""

    def _look(self) -> None:
        """Find out which bundle is active, and whether it is on trial."""
        root = self._root
        if root is None:
            return
        self._digest = digest_of(root, ACTIVE) or ""
        before, trials = digest_of(root, PREVIOUS), read_trials(root)
        known = self._digest in trials.accepted
        self._on_trial = bool(
            self._options.for_s and self._digest and before and before != self._digest and before in trials.accepted
        )
        self._on_trial = self._on_trial and not known

    def _go_back(self, root: Path, name: str, why: str) -> str:
        """Change the links; the name of the bundle that is active now, empty where somebody else changed them."""
        with FileLock(root / LOCK):
            before = digest_of(root, PREVIOUS)
            if digest_of(root, ACTIVE) != self._digest or before is None:
                return ""
            bundle = Bundle.open(root / OBJECTS / before)
            now = datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
            # First the refusal: after a kill between the two the bundle is refused at the next start.
            write_trials(root, read_trials(root).refusing(self._digest, Refusal(name, why, now, before)))
            point(root, ACTIVE, before)
        return bundle.manifest.name

    def _note(self, change: Callable[[Trials], Trials]) -> None:
        if self._root is None:
            return
        try:
            with FileLock(self._root / LOCK):
                write_trials(self._root, change(read_trials(self._root)))
        except EdgedError as exc:
            logger.warning("what is known of the model's trial is not stored: %s", exc)

    def _name(self) -> str:
        """Of the active bundle; its digest where its manifest cannot be read."""
        try:
            return Bundle.open((self._root or Path()) / OBJECTS / self._digest).manifest.name
        except (EdgedError, OSError):
            return self._digest[:12]
