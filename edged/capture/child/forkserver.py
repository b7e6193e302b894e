"""The fork server, which forks the cameras' processes: small, single-threaded, with OpenCV already loaded.

A fork of the daemon itself would copy its threads' locks, CUDA context and open files; starting Python again for each
camera would cost time and 60 MB each. multiprocessing's fork server would import the daemon's `__main__` in every
child and keep a resource tracker. This one shares its pages with its children, kills them on request (as their
parent it cannot hit a process id that was used again) and kills all of them when it ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

from edged.capture.spec import CameraSpec
from edged.core.redact import redact

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
MAX_COMMAND = 131_072
OOM_SCORE = 500  # out of memory the kernel should kill a camera before the daemon
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # sent to the whole group; the daemon decides for all


def main(descriptor: int, parent: int) -> None:
    """Serve the supervisor on this socket until it hangs up.

    Args:
        descriptor: of a SOCK_SEQPACKET socket to the supervisor; closed at the end.
        parent: process id of the daemon.
    """
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    _die_with(parent)
    _name_process("edged-forker")
    with socket.socket(fileno=descriptor) as control:
        _preload()
        Forkserver(control).serve()


def _preload() -> None:
    """Load what every child needs. Frozen, because garbage collection would write to shared pages and so copy them."""
    import cv2  # noqa: PLC0415 - takes 100 ms, in which Ctrl-C must be ignored already

    cv2.setNumThreads(1)
    gc.collect()
    gc.freeze()


class Forkserver:
    """The serving loop.

    Args:
        control: to the supervisor.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: dict[int, int] = {}  # process id -> token

    def serve(self) -> None:
        """Serve until the supervisor hangs up, then kill every child."""
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        try:
            self._tell(ready=os.getpid())
            while True:
                readable, _, _ = select.select([self._control.fileno(), wake_read], [], [])
                if wake_read in readable:
                    os.read(wake_read, 4096)
                    self._reap()
                if self._control.fileno() in readable and not self._obey():
                    break
        finally:
            for pid in self._children:
                os.kill(pid, signal.SIGKILL)

    def _obey(self) -> bool:
        """Carry out one command; False when the supervisor is gone."""
        try:
            packet, descriptors, _, _ = socket.recv_fds(self._control, MAX_COMMAND, 1)
        except ConnectionResetError:
            return False
        if not packet:
            return False
        command = json.loads(packet)
        token = int(command["token"])
        if "spec" in command:
            self._spawn(token, command["spec"], descriptors[0])
        else:
            self._kill(token)
        return True

    def _spawn(self, token: int, spec: dict[str, Any], descriptor: int) -> None:
        us = os.getpid()
        try:
            pid = os.fork()
        except OSError as exc:
            os.close(descriptor)
            self._tell(exited=token, why=f"cannot fork: {exc.strerror}")
            return
        if pid == 0:
            _child(self._control, descriptor, spec, us)
        os.close(descriptor)
        self._children[pid] = token
        self._tell(spawned=token, pid=pid)

    def _kill(self, token: int) -> None:
        for pid, owner in self._children.items():
            if owner == token:
                os.kill(pid, signal.SIGKILL)
        self._tell(killed=token)

    def _reap(self) -> None:
        while self._children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._tell(exited=self._children.pop(pid, 0), why=describe_status(status))

    def _tell(self, **message: int | str) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the next read sees the end
            self._control.sendall(json.dumps(message).encode())


def describe_status(status: int) -> str:
    """A wait status in words; empty for exit code 0."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
        hint = " (out of memory?)" if number == signal.SIGKILL else ""
        return f"the capture process was ended by {name}{hint}"
    code = os.WEXITSTATUS(status)
    return f"the capture process exited with code {code}" if code else ""


def _child(control: socket.socket, descriptor: int, spec: dict[str, Any], parent: int) -> None:
    """Run the camera in the forked process; never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        control.close()
        _die_with(parent)
        _name_process(f"edged:{spec['name']}")
        _volunteer_for_oom()
        from edged.capture.child.worker import run  # noqa: PLC0415 - loaded by now

        with socket.socket(fileno=descriptor) as sock:
            run(sock, CameraSpec(**spec))
        code = 0
    except BaseException:  # noqa: BLE001 - nothing must leave a forked child; its exit code tells of the failure
        sys.stderr.write(redact(traceback.format_exc()))
    finally:
        os._exit(code)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies; exits at once if it has died already."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _name_process(name: str) -> None:
    ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def _volunteer_for_oom() -> None:
    with contextlib.suppress(OSError):  # /proc may be read-only
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE), encoding="ascii")
