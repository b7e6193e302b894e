"""One child process as its camera sees it, and what is checked of all that it says."""

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
    """One child. `sock` is None once it is being ended."""

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
    """Refuse a frame that cannot be.

    Raises:
        MessageError: larger than its slot, or from another time.
    """
    width, height = new.size_wh
    if not (0 < width < MAX_SIDE and 0 < height < MAX_SIDE and width * height * 3 <= home.area.layout.slot_bytes):
        raise MessageError(f"a frame of {width}x{height} in a slot of {home.area.layout.slot_bytes} bytes")
    if not (new.wall_ns < _LATEST_WALL_NS and abs(new.mono_ns - now_s * 1e9) < _CLOCK_SLACK_NS):
        raise MessageError("a frame from another time")


def receive(sock: socket.socket) -> bytes:
    """One packet; empty at the end.

    A child that exits before it read everything resets the connection, but what it said before still lies there.
    """
    try:
        return sock.recv(MAX_PACKET)
    except ConnectionResetError:
        return sock.recv(MAX_PACKET)
