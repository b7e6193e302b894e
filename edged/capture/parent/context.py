"""What all cameras of a supervisor share: settings, selector, fork server, frame hub and listeners."""

from __future__ import annotations

import itertools
import logging
import random
import selectors
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edged.capture.boundary.slots import SlotArea
from edged.capture.parent.forkserver_client import ForkserverClient
from edged.capture.parent.frame_hub import FrameHub
from edged.capture.spec import CameraSpec
from edged.core.errors import CameraError
from edged.core.states import CameraState

logger = logging.getLogger(__name__)

JITTER = 0.2  # of a pause, either way: a hundred cameras behind one switch must not reconnect all at once
AUTH_FIRST_S = 60.0  # cameras lock accounts out after a few wrong passwords


@dataclass(frozen=True, slots=True)
class CaptureSettings:
    """How cameras are run.

    Attributes:
        slots: 3 to 64, frames of one camera that may exist at once: being written, waiting and taken.
        backoff_first_s: pause before the first new attempt; doubled for each further one.
        backoff_max_s: longest pause.
        auth_first_s: shortest pause where the source refused the password.
        steady_s: after so long online the next pause is the first one again.
    """

    slots: int = 4
    backoff_first_s: float = 1.0
    backoff_max_s: float = 30.0
    auth_first_s: float = AUTH_FIRST_S
    steady_s: float = 10.0

    def __post_init__(self) -> None:
        if not 3 <= self.slots <= 64:  # noqa: PLR2004 - one being written, one waiting, one taken
            raise ValueError(f"slots must be 3 to 64, got {self.slots}")
        if not 0 < self.backoff_first_s <= self.backoff_max_s:
            raise ValueError(f"back-off must grow from above 0, got {self.backoff_first_s} to {self.backoff_max_s} s")

    def pause_s(self, failures: int, *, auth: bool) -> float:
        """Pause before the next attempt after so many failures in a row, with jitter."""
        pause_s = min(self.backoff_first_s * 2.0 ** min(failures - 1, 16), self.backoff_max_s)
        jitter = random.uniform(-JITTER, JITTER)  # noqa: S311 - no secret
        return max(pause_s, self.auth_first_s) * (1 + abs(jitter)) if auth else pause_s * (1 + jitter)


class SlotWatcher(Protocol):
    """Told of slot memory, to register it with a GPU. Called in the supervisor's thread; must not block."""

    def appeared(self, camera: str, address: int, length: int) -> None:
        """Frames of this camera will lie in this page-aligned memory from now on; `length` in bytes."""
        ...

    def vanished(self, camera: str, address: int) -> None:
        """The memory is about to be unmapped; no frame in it is in use."""
        ...


class Context:
    """Shared by the cameras of one supervisor; used in its thread only, except `slots_idle`.

    Args:
        settings: how cameras are run.
        on_state: called with each new state of a camera.
        watcher: told of slot memory.
        wake: wakes the supervisor's thread.
    """

    def __init__(
        self,
        settings: CaptureSettings,
        *,
        on_state: Callable[[CameraState], None],
        watcher: SlotWatcher | None,
        wake: Callable[[], None],
    ) -> None:
        self.settings = settings
        self.selector = selectors.DefaultSelector()
        self.hub = FrameHub(on_idle=self.slots_idle)
        self.forkserver: ForkserverClient | None = None
        self._on_state = on_state
        self._watcher = watcher
        self._wake = wake
        self._tokens = itertools.count(1)
        self._owners: dict[int, str] = {}  # id of an area -> camera
        self._idle_areas: deque[SlotArea] = deque()
        self._closed = False

    def spawn(self, spec: CameraSpec) -> tuple[int, socket.socket]:
        """Have a child forked; returns its token and the supervisor's end of its socket, non-blocking.

        Raises:
            CameraError: no fork server runs, or it could not be asked.
        """
        if self.forkserver is None:
            raise CameraError("the capture service is being restarted")
        token = next(self._tokens)
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as exc:
            raise CameraError(f"no capture process: {exc.strerror}") from exc
        try:
            self.forkserver.spawn(token, spec, theirs)
        except OSError as exc:
            ours.close()
            raise CameraError(f"no capture process: {exc.strerror}") from exc
        finally:
            theirs.close()
        ours.settimeout(0)
        return token, ours

    def kill(self, token: int) -> None:
        """Have a child killed; a fork server that cannot be asked is replaced soon."""
        if self.forkserver is not None:
            try:
                self.forkserver.kill(token)
            except OSError as exc:
                logger.warning("capture: the forkserver does not listen: %s", exc.strerror)

    def tell(self, state: CameraState) -> None:
        """Pass a state to the listener; if that fails, it is logged and the cameras go on."""
        try:
            self._on_state(state)
        except Exception:
            logger.exception("capture: a listener failed on %s of %s", state.state, state.camera)

    def new_area(self, camera: str, *, number: int, picture_bytes: int) -> SlotArea:
        """Make new slots for a child, each of at least `picture_bytes`.

        Raises:
            OSError: no memory or no descriptor.
        """
        area = SlotArea(number=number, count=self.settings.slots, picture_bytes=picture_bytes)
        self._owners[id(area)] = camera
        if self._watcher is not None:
            self._watcher.appeared(camera, area.address, area.length)
        return area

    def close(self) -> None:
        """Wake whoever waits for frames and free idle slots; the release of their last frame frees the others."""
        self._closed = True
        self.hub.close()
        self.let_idle_areas_go()
        self.selector.close()

    def slots_idle(self, area: SlotArea) -> None:
        """The last frame in a retired area was released (any thread)."""
        self._idle_areas.append(area)
        if self._closed:  # the supervisor's thread has ended
            self.let_idle_areas_go()
        else:
            self._wake()

    def let_idle_areas_go(self) -> None:
        """Tell the watcher of each idle area, and drop the last reference to it."""
        while self._idle_areas:
            try:
                area = self._idle_areas.popleft()
            except IndexError:  # another thread was faster
                return
            camera = self._owners.pop(id(area))
            area.close_descriptor()
            if self._watcher is not None:
                self._watcher.vanished(camera, area.address)
