"""What every camera of one supervisor shares: its settings, its selector, its forkserver, its way to tell others."""

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

JITTER = 0.2  # of a pause, either way: a hundred cameras behind one switch must not return in step
AUTH_FIRST_S = 60.0  # cameras lock accounts out after a few wrong passwords


@dataclass(frozen=True, slots=True)
class CaptureSettings:
    """How cameras are run.

    Attributes:
        slots: frames of one camera that may exist at once, waiting, taken and being written.
        backoff_first_s: pause before the first new attempt.
        backoff_max_s: longest pause; doubled from attempt to attempt up to it.
        auth_first_s: first pause where the source refused the password.
        steady_s: a camera that was online for so long starts again with the first pause.
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
        """Before the next attempt after so many failures in a row, jittered."""
        pause_s = min(self.backoff_first_s * 2.0 ** min(failures - 1, 16), self.backoff_max_s)
        jitter = random.uniform(-JITTER, JITTER)  # noqa: S311 - no secret
        return max(pause_s, self.auth_first_s) * (1 + abs(jitter)) if auth else pause_s * (1 + jitter)


class SlotWatcher(Protocol):
    """Hears of slot memory, to register it with a GPU. Called in the supervisor's thread; must not block."""

    def appeared(self, camera: str, address: int, length: int) -> None:
        """Readable memory in which frames of this camera will lie, page-aligned, from now on."""
        ...

    def vanished(self, camera: str, address: int) -> None:
        """No frame of it is out and it is about to be unmapped."""
        ...


class Context:
    """Shared by the cameras of one supervisor; used in its thread only, save for `slots_idle`.

    Args:
        settings: how cameras are run.
        on_state: told of every change.
        watcher: told of slot memory.
        wake: makes the supervisor's thread look around.
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
        """Have a child forked; its token and our end of its socket.

        Raises:
            CameraError: it cannot be.
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
        """Have a child killed; if that cannot even be asked for, the forkserver itself is replaced soon."""
        if self.forkserver is not None:
            try:
                self.forkserver.kill(token)
            except OSError as exc:
                logger.warning("capture: the forkserver does not listen: %s", exc.strerror)

    def tell(self, state: CameraState) -> None:
        """Pass a state on; a listener that fails must not stop the cameras."""
        try:
            self._on_state(state)
        except Exception:
            logger.exception("capture: a listener failed on %s of %s", state.state, state.camera)

    def new_area(self, camera: str, *, number: int, picture_bytes: int) -> SlotArea:
        """Slots of their own for a child.

        Raises:
            OSError: no memory or no descriptor.
        """
        area = SlotArea(number=number, count=self.settings.slots, picture_bytes=picture_bytes)
        self._owners[id(area)] = camera
        if self._watcher is not None:
            self._watcher.appeared(camera, area.address, area.length)
        return area

    def close(self) -> None:
        """Nobody waits for frames any more; slots still out are let go by whoever releases the last of them."""
        self._closed = True
        self.hub.close()
        self.let_idle_areas_go()
        self.selector.close()

    def slots_idle(self, area: SlotArea) -> None:
        """Retired slots have all come home (any thread)."""
        self._idle_areas.append(area)
        if self._closed:  # nobody else would
            self.let_idle_areas_go()
        else:
            self._wake()

    def let_idle_areas_go(self) -> None:
        """Tell the watcher and drop the last reference."""
        while self._idle_areas:
            try:
                area = self._idle_areas.popleft()
            except IndexError:  # another thread was faster
                return
            camera = self._owners.pop(id(area))
            area.close_descriptor()
            if self._watcher is not None:
                self._watcher.vanished(camera, area.address)
