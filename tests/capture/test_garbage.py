"""A child that was taken over by what it decodes: it is killed, nothing else suffers."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from edged.capture.boundary.messages import (
    FrameTally,
    NewFrame,
    pack_endpoint,
    pack_frame,
    pack_opened,
    pack_want,
    parse_from_supervisor,
)
from edged.capture.cameras import Cameras
from edged.capture.parent.context import Context
from edged.capture.sources.stream import StreamInfo
from edged.capture.spec import CameraSpec
from tests.capture.support import QUICK, Recorder, pattern, take_until, wait_until

SendTo = Callable[[socket.socket], None]


@pytest.fixture
def evil(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[socket.socket]]:
    """The far ends of the sockets of every camera called `evil`; no process behind them."""
    ends: list[socket.socket] = []
    real = Context.spawn

    def spawn(self: Context, spec: CameraSpec) -> tuple[int, socket.socket]:
        if spec.name != "evil":
            return real(self, spec)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(0)
        ends.append(theirs)
        return -len(ends), ours

    monkeypatch.setattr(Context, "spawn", spawn)
    yield ends
    for end in ends:
        end.close()


def frame(**change: object) -> NewFrame:
    values = {
        "area": 0,
        "slot": 0,
        "size_wh": (64, 48),
        "wall_ns": time.time_ns(),
        "mono_ns": time.monotonic_ns(),
        "comparable": False,
        "same": False,
        "tally": FrameTally(0, 0, 0),
        **change,
    }
    return NewFrame(**values)  # type: ignore[arg-type]


def get_slots(end: socket.socket) -> None:
    end.send(pack_opened(StreamInfo(decoder="x", live=True, fps=1.0, may_freeze=False)))
    end.send(pack_want((64, 48)))
    packet, descriptors, _, _ = socket.recv_fds(end, 100, 4)
    parse_from_supervisor(packet)
    os.close(descriptors[0])


def send_all(*packets: bytes) -> SendTo:
    def send(end: socket.socket) -> None:
        get_slots(end)
        for packet in packets:
            end.send(packet)

    return send


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(lambda end: end.send(b"\xff" * 100), id="noise"),
        pytest.param(lambda end: end.send(b"\x03" * 16_000), id="long"),
        pytest.param(lambda end: end.send(pack_frame(frame())), id="frame-without-slots"),
        pytest.param(lambda end: end.send(pack_want((65_535, 65_535))), id="too-large"),
        pytest.param(lambda end: end.send(pack_want((0, 10))), id="no-size"),
        pytest.param(send_all(pack_frame(frame(slot=77))), id="slot-beyond"),
        pytest.param(send_all(pack_frame(frame(area=5))), id="other-area"),
        pytest.param(send_all(pack_frame(frame(size_wh=(64, 4800)))), id="frame-beyond-slot"),
        pytest.param(send_all(pack_frame(frame(size_wh=(0, 48)))), id="empty-frame"),
        pytest.param(send_all(pack_frame(frame(wall_ns=2**63))), id="wall-clock"),
        pytest.param(send_all(pack_frame(frame(mono_ns=2**60))), id="monotonic-clock"),
        pytest.param(send_all(*[pack_frame(frame())] * 2), id="slot-twice"),
    ],
)
def test_garbage_ends_that_child_only(evil: list[socket.socket], attack: SendTo) -> None:
    recorder = Recorder()
    with Cameras([pattern("evil"), pattern("good")], on_state=recorder, settings=QUICK) as cameras:
        wait_until(lambda: len(evil) == 1)
        attack(evil[0])
        assert "sent garbage" in recorder.wait_for("evil", "offline").reason
        take_until(cameras, lambda: cameras.counters()["good"].taken > 3)
    assert recorder.names("good") == ["opening", "online"]


@pytest.mark.parametrize(
    "place", ["", "nonsense", "10.0.0.300|1", "::1|99999999", "127.0.0.1|", "/dev/../etc/passwd\n"]
)
def test_garbage_place_does_no_harm(evil: list[socket.socket], place: str) -> None:
    recorder = Recorder()
    with Cameras([pattern("evil"), pattern("good")], on_state=recorder, settings=QUICK) as cameras:
        wait_until(lambda: len(evil) == 1)
        evil[0].send(pack_endpoint(place))
        evil[0].close()
        recorder.wait_for("evil", "offline")
        wait_until(lambda: len(evil) >= 2)
        take_until(cameras, lambda: cameras.counters()["good"].taken > 3)


def test_garbage_descriptors_do_not_pile_up(evil: list[socket.socket]) -> None:
    with Cameras([pattern("evil")], on_state=Recorder(), settings=QUICK) as cameras:
        wait_until(lambda: len(evil) == 1)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(50):
            socket.send_fds(evil[0], [pack_opened(StreamInfo("x", live=True, fps=1.0, may_freeze=False))], [0, 1, 2])
        wait_until(lambda: cameras.states()["evil"].decoder == "x")
        time.sleep(0.1)
        assert len(os.listdir("/proc/self/fd")) <= before + 1
