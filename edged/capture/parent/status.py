"""A camera's state, reported and logged when it changes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone

from edged.capture.sources.stream import StreamInfo
from edged.core.redact import redact
from edged.core.states import CameraState, CameraStateName

MOST_LETTERS = 500  # of a reason

logger = logging.getLogger(__name__)


class CameraStatus:
    """The state of one camera. Used in the supervisor's thread; any thread may read `state`.

    Args:
        camera: its name.
        reconnects: so far, of earlier cameras of this name.
        tell: called with each new state, `opening` first.

    Attributes:
        state: the present state.
    """

    def __init__(self, camera: str, *, reconnects: int, tell: Callable[[CameraState], None]) -> None:
        self._tell = tell
        self.state = CameraState(camera, "opening", reason="", since=_now(), reconnects=reconnects)
        tell(self.state)

    def opened(self, info: StreamInfo) -> None:
        """Note decoder, rate and the like; reported with the next change."""
        self.state = replace(
            self.state,
            decoder=info.decoder,
            fps=info.fps,
            transport=info.transport,
            key_interval_s=info.key_interval_s,
        )

    def change(
        self, name: CameraStateName, reason: str, *, reconnects: int, size_wh: tuple[int, int] | None = None
    ) -> None:
        """Set the state; reported and logged if it differs from the one before.

        Args:
            name: of the state.
            reason: for people; secrets are removed.
            reconnects: so far.
            size_wh: of its newest frame; None where that did not change.
        """
        before, reason = self.state, " ".join(redact(reason).split())[:MOST_LETTERS]
        size_wh = size_wh or before.size_wh
        if (name, reason, size_wh) == (before.state, before.reason, before.size_wh):
            return
        since = before.since if name == before.state else _now()
        self.state = replace(before, state=name, reason=reason, since=since, size_wh=size_wh, reconnects=reconnects)
        if (name, reason) != (before.state, before.reason):
            self._log()
        self._tell(self.state)

    def _log(self) -> None:
        camera, name, reason = self.state.camera, self.state.state, self.state.reason
        level = logging.WARNING if name in {"offline", "frozen"} else logging.INFO
        said = (camera, name, reason) if reason else (camera, name)
        line = "camera %s: %s: %s" if reason else "camera %s: %s"
        logger.log(level, line, *said, extra={"CAMERA": camera, "STATE": name})


def _now() -> datetime:
    return datetime.now(tz=timezone.utc)
