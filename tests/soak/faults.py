"""The faults of a soak: one every few seconds, in turn, each really injected and taken back."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.boxes import Box
from tests.brokers import Broker
from tests.capture.support import MjpegHandler
from tests.faults.processes import descendants

OUTAGE_S = 6.0


class Faults:
    """Injects faults into one box, in turn.

    Args:
        box: the daemon.
        broker: real mosquitto.
        mjpeg: steers the HTTP camera.
        rtsp: starts the RTSP camera's server and returns it, or None where there is none.
    """

    def __init__(
        self,
        box: Box,
        broker: Broker,
        *,
        mjpeg: type[MjpegHandler],
        rtsp: Callable[[], subprocess.Popen[str]] | None,
    ) -> None:
        self._box, self._broker, self._mjpeg = box, broker, mjpeg
        self._start_rtsp = rtsp
        self.rtsp = rtsp() if rtsp is not None else None
        self.injected: Counter[str] = Counter()
        self._turn = itertools.cycle(self._all())

    def _all(self) -> Iterator[Callable[[], None]]:
        yield self.camera_process_killed
        yield self.broker_restarted
        yield self.http_camera_stalls
        yield self.reload
        yield self.camera_process_hangs
        if self.rtsp is not None:
            yield self.rtsp_server_restarted
        yield self.broker_frozen
        yield self.http_camera_hangs_up
        yield self.reload_of_a_torn_file
        if self.rtsp is not None:
            yield self.rtsp_server_frozen

    def next(self) -> None:
        """Inject the next one; returns when it is taken back."""
        fault = next(self._turn)
        self.injected[fault.__name__.replace("_", " ")] += 1
        fault()

    def _child(self, camera: str) -> int:
        assert self._box.process is not None
        for pid in descendants(self._box.process.pid):
            try:
                if Path(f"/proc/{pid}/comm").read_text().strip() == f"edged:{camera}":
                    return pid
            except OSError:
                continue
        return 0

    def _signal_child(self, camera: str, number: signal.Signals) -> None:
        if pid := self._child(camera):
            os.kill(pid, number)

    def camera_process_killed(self) -> None:
        """As by the kernel for memory, or a crash of a decoder."""
        self._signal_child("file", signal.SIGKILL)

    def camera_process_hangs(self) -> None:
        """As in a driver; the daemon kills it."""
        self._signal_child("pattern", signal.SIGSTOP)

    def http_camera_stalls(self) -> None:
        """The connection stands, nothing comes."""
        self._mjpeg.stalled = True
        time.sleep(OUTAGE_S)
        self._mjpeg.stalled = False

    def http_camera_hangs_up(self) -> None:
        """The connection ends."""
        self._mjpeg.hang_up = True

    def rtsp_server_frozen(self) -> None:
        """The stream stands still."""
        if self.rtsp is not None:
            self.rtsp.send_signal(signal.SIGSTOP)
            time.sleep(OUTAGE_S)
            self.rtsp.send_signal(signal.SIGCONT)

    def rtsp_server_restarted(self) -> None:
        """The camera loses power."""
        if self.rtsp is not None and self._start_rtsp is not None:
            self.end_rtsp()
            time.sleep(2.0)
            self.rtsp = self._start_rtsp()

    def end_rtsp(self) -> None:
        """Kill the RTSP server."""
        if self.rtsp is not None:
            self.rtsp.kill()
            self.rtsp.communicate()
            self.rtsp = None

    def broker_restarted(self) -> None:
        """An orderly restart, which keeps what it had accepted for its subscribers."""
        self._broker.stop()
        time.sleep(OUTAGE_S)
        self._broker.start()

    def broker_frozen(self) -> None:
        """Alive for TCP, dead for MQTT, for longer than the keepalive."""
        self._broker.freeze()
        time.sleep(25.0)
        self._broker.thaw()

    def reload(self) -> None:
        """The operator changes a threshold."""
        self._box.write()
        self._box.signal(signal.SIGHUP)

    def reload_of_a_torn_file(self) -> None:
        """The operator's editor is half way through."""
        whole = self._box.config.read_text()
        self._box.config.write_text(whole[: len(whole) // 2] + "[")
        self._box.signal(signal.SIGHUP)
        time.sleep(2.0)
        self._box.config.write_text(whole)
