"""What a camera knows of its child process, and the checks of each frame that it sends."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from edged.capture.boundary.messages import MAX_PACKET, Ended, Lost, MessageError, NewFrame
from edged.capture.boundary.slots import MAX_SIDE
from edged.capture.parent.frame_hub import Home

NEVER = float("inf")
_LATEST_WALL_NS = 7_258_118_400 * 10**9  # the year 2200
_CLOCK_SLACK_NS = 3600 * 10**9


@dataclass(slots=True)
class CameraProcess:
    """One child process.

    Attributes:
        token: names the child to the fork server.
        sock: to the child; None once it is being ended.
        deadline_s: when it counts as hung unless it sends something.
        home: its present slots.
        areas: slot areas made for it so far.
        online_s: when its first frame came.
        outcome: how reading ended, as it said itself.
        endpoint: of the failed source; empty where unknown.
        verdict: why the supervisor ended it.
        death_due_s: when it is given up after a kill.
    """

    token: int
    sock: socket.socket | None
    deadline_s: float = NEVER
    pid: int = 0
    opened: bool = False
    home: Home | None = None
    areas: int = 0
    online_s: float = NEVER
    outcome: Lost | Ended | None = None
    endpoint: str = ""
    verdict: str = ""
    death_due_s: float = NEVER


def check_frame(new: NewFrame, home: Home, now_s: float) -> None:
    """Check what a child says of a frame; `now_s` is monotonic.

    Raises:
        MessageError: larger than its slot, or its time stamps are not plausible.
    """
    width, height = new.size_wh
    if not (0 < width < MAX_SIDE and 0 < height < MAX_SIDE and width * height * 3 <= home.area.layout.slot_bytes):
        raise MessageError(f"a frame of {width}x{height} in a slot of {home.area.layout.slot_bytes} bytes")
    if not (new.wall_ns < _LATEST_WALL_NS and abs(new.mono_ns - now_s * 1e9) < _CLOCK_SLACK_NS):
        raise MessageError("a frame from another time")


def receive(sock: socket.socket) -> bytes:
    """One packet; empty at the end.

    A child that exits with unread packets resets the connection, but the packets that it sent can still be read.

    Raises:
        BlockingIOError: no packet is there.
    """
    try:
        return sock.recv(MAX_PACKET)
    except ConnectionResetError:
        return sock.recv(MAX_PACKET)
