"""The supervisor's side of the fork server: starts it, has children forked and killed, receives their ends."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

from edged.capture.boundary.messages import MAX_PACKET
from edged.capture.spec import CameraSpec
from edged.core.errors import CameraError

START_S = 30.0  # a cold file cache on an SD card
ANSWER_S = 5.0
_BOOT = (
    "import sys; sys.path[:] = sys.argv[3:]; from edged.capture.child.forkserver import main; "
    "main(*map(int, sys.argv[1:3]))"
)


@dataclass(frozen=True, slots=True)
class Event:
    """An event that the fork server reports.

    Attributes:
        what: `ready`, `spawned`, `killed` or `exited`.
        token: of the child.
        pid: of the child, where it was spawned.
        why: how it ended, in words; empty for exit code 0.
    """

    what: str
    token: int
    pid: int
    why: str


class ForkserverClient:
    """One fork server process. Create it in a thread that outlives it: the kernel kills it with that thread.

    Raises:
        CameraError: it cannot be started.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            # -I: neither the working directory nor PYTHON* decide what is imported; sys.path is ours.
            # -u: C's stdout, too, else FFmpeg's messages would wait in a buffer.
            command = [sys.executable, "-I", "-u", "-c", _BOOT, str(theirs.fileno()), str(os.getpid())]
            self._process = subprocess.Popen(  # this interpreter, no shell
                [*command, *sys.path],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=_environment(),
            )
        except OSError as exc:
            ours.close()
            raise CameraError(f"the capture service cannot be started: {exc.strerror}") from exc
        finally:
            theirs.close()
        ours.settimeout(0)
        self.socket = ours
        self._unanswered = 1  # it sends `ready` unasked
        self._answer_due_s = time.monotonic() + START_S

    @property
    def overdue(self) -> bool:
        """It has not answered in time: it hangs and must be replaced."""
        return self._unanswered > 0 and time.monotonic() > self._answer_due_s

    def spawn(self, token: int, spec: CameraSpec, child_end: socket.socket) -> None:
        """Have a child forked that talks over `child_end`, which the caller closes.

        Raises:
            OSError: the forkserver is gone or does not listen.
        """
        packet = json.dumps({"token": token, "spec": asdict(spec)}).encode()
        socket.send_fds(self.socket, [packet], [child_end.fileno()])
        self._expect_answer()

    def kill(self, token: int) -> None:
        """Have a child killed; it need not exist any more.

        Raises:
            OSError: the forkserver is gone or does not listen.
        """
        self.socket.send(json.dumps({"token": token}).encode())
        self._expect_answer()

    def receive(self) -> Event | None:
        """The next event; None when the fork server is gone.

        Raises:
            BlockingIOError: no event is there.
        """
        try:
            packet = self.socket.recv(MAX_PACKET)
        except ConnectionResetError:
            return None
        if not packet:
            return None
        said = json.loads(packet)
        what = next(iter(said))
        if what != "exited":
            self._unanswered -= 1
            self._answer_due_s = time.monotonic() + ANSWER_S
        return Event(what=what, token=int(said[what]), pid=int(said.get("pid", 0)), why=str(said.get("why", "")))

    def close(self, *, patience_s: float) -> None:
        """End the fork server and all its children; waits for that, and kills it after `patience_s`."""
        self.socket.close()
        try:
            self._process.wait(timeout=patience_s)  # it kills its children and exits
        except subprocess.TimeoutExpired:
            self._process.kill()  # the kernel kills the children with it
            self._process.wait()

    def _expect_answer(self) -> None:
        if not self._unanswered:
            self._answer_due_s = time.monotonic() + ANSWER_S
        self._unanswered += 1


def _environment() -> dict[str, str]:
    """This environment without edged's settings, which may hold passwords. Libraries start no threads."""
    ours = {key: value for key, value in os.environ.items() if not key.upper().startswith("EDGED_")}
    return {**ours, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
