"""All cameras of the daemon: gives their newest frames in turn, from child processes that may hang or crash."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edged.capture.parent.context import CaptureSettings, SlotWatcher
from edged.capture.parent.supervisor import Supervisor
from edged.capture.spec import CameraSpec
from edged.core.errors import EdgedError
from edged.core.pulse import Pulse
from edged.core.states import CameraCounters, CameraState
from edged.core.types import Frame


class Cameras:
    """One child process per camera, all run by one thread. A context manager that starts and closes.

    Args:
        specs: the cameras; names are unique.
        on_state: called with each new state of a camera, `opening` first; in the supervisor's thread, must not block.
        settings: slots and pauses.
        watcher: told of the shared memory that holds frames, to register it with a GPU.

    Raises:
        ValueError: two cameras of one name.
    """

    def __init__(
        self,
        specs: Sequence[CameraSpec],
        *,
        on_state: Callable[[CameraState], None],
        settings: CaptureSettings | None = None,
        watcher: SlotWatcher | None = None,
    ) -> None:
        self._supervisor = Supervisor(settings or CaptureSettings(), on_state=on_state, watcher=watcher)
        self._hub = self._supervisor.context.hub
        self._closed = False
        self.replace(specs)

    def start(self) -> None:
        """Start the thread and the children; call it once."""
        self._supervisor.start()

    def take(self, limit: int, *, timeout_s: float) -> list[Frame]:
        """At most `limit` waiting frames: cameras in turn, the one that waited longest first, each camera's in order.

        Of a `realtime` camera only the newest frame waits; a `fast` one may give several at once. Pixels stay valid
        until `release`. Empty after `timeout_s` without a frame, or once closed.

        Raises:
            EdgedError: the supervisor failed; no frame will come any more.
        """
        if self._supervisor.failure is not None:
            raise EdgedError(f"capture failed: {self._supervisor.failure!r}")
        return self._hub.take(limit, timeout_s=timeout_s)

    def release(self, frames: Sequence[Frame]) -> None:
        """Give taken frames back, once each, in any thread; do not read their pixels after that.

        Raises:
            ValueError: a frame was not taken, or was released before.
        """
        self._hub.release(frames)

    def replace(self, specs: Sequence[CameraSpec]) -> None:
        """Run these cameras from now on. Unchanged ones keep running; sequence and counts of a name continue.

        Raises:
            ValueError: two cameras of one name; nothing is changed.
        """
        names = [spec.name for spec in specs]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two cameras are called {twice[0]!r}")
        self._supervisor.want(specs)

    def waiting(self) -> int:
        """Number of cameras that have a frame waiting."""
        return self._hub.waiting()

    def states(self) -> dict[str, CameraState]:
        """State of every camera, by name."""
        return {name: camera.state for name, camera in self._supervisor.cameras().items()}

    def counters(self) -> Mapping[str, CameraCounters]:
        """Counters of every camera, by name."""
        return {name: self._hub.counters(camera.queue) for name, camera in self._supervisor.cameras().items()}

    @property
    def pulse(self) -> Pulse:
        """Heartbeat of the thread that runs the cameras."""
        return self._supervisor.pulse

    def pids(self) -> dict[str, int]:
        """Process ids of the running children, by camera."""
        processes = {name: camera.process for name, camera in self._supervisor.cameras().items()}
        return {name: process.pid for name, process in processes.items() if process is not None and process.pid}

    @property
    def ended(self) -> bool:
        """Every camera has played its file once and all its frames are taken."""
        if self._supervisor.pending:
            return False  # the new cameras are not known yet
        states = self.states().values()
        return all(state.state == "ended" for state in states) and not self.waiting()

    def close(self) -> None:
        """End the children and the thread; safe to call twice. Taken frames stay valid until released."""
        if not self._closed:
            self._closed = True
            self._supervisor.close()

    def __enter__(self) -> Cameras:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
