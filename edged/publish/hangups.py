"""Learns the largest message of a broker that announces no limit, but closes the connection on a larger one.

Without this, a too large durable message would be sent again with every connection and end each of them.
"""

from __future__ import annotations

LOSSES_IN_A_ROW = 3  # with the same message; one or two may be a broker that restarts
LOSSES_ONCE_PROVED = 2  # of a broker known to do so; one may be due to an earlier message whose answer was not read


_PACKET_OVERHEAD_BYTES = 16  # fixed header, topic length, packet id, empty properties


def packet_bytes(topic: str, payload: bytes) -> int:
    """Upper bound of the size of a message's packet."""
    return len(topic.encode()) + len(payload) + _PACKET_OVERHEAD_BYTES


class SizeGuard:
    """Suspects a size, holds such messages back, and is sure only when a smaller message gets through.

    A broker that closes the connection for another reason (access rules, two clients with one id) does so on smaller
    messages, too: then no size is at fault, and messages held back are sent again.
    """

    def __init__(self) -> None:
        self._last: object = None
        self._losses = 0
        self.refused_bytes = 0  # the smallest size that is suspected or refused; 0: none
        self.largest_passed = 0
        self.sure = False
        self._proved = False  # whether a suspicion was ever confirmed

    @property
    def suspicious(self) -> bool:
        """Whether a size is suspected but not proved."""
        return bool(self.refused_bytes) and not self.sure

    def refuses(self, size: int) -> bool:
        """Whether a message of `size` bytes is too large, or suspected of it."""
        return 0 < self.refused_bytes <= size

    def hung_up(self, message: object, size: int) -> None:
        """The broker closed a connection on which `message` was the first that it had not confirmed."""
        if size <= self.largest_passed:
            self._last = None
            return
        self._losses = self._losses + 1 if message == self._last else 1
        self._last = message
        if self.suspicious or self._losses >= (LOSSES_ONCE_PROVED if self._proved else LOSSES_IN_A_ROW):
            self.refused_bytes = min(size, self.refused_bytes or size)
            self.sure = False

    def passed(self, size: int) -> bool:
        """The broker confirmed a message of `size` bytes; True where that proves a suspicion."""
        self.largest_passed = max(self.largest_passed, size)
        if self.refused_bytes and self.refused_bytes <= self.largest_passed:
            self.forget()
        if not self.suspicious:
            return False
        self.sure = self._proved = True
        return True

    def forget(self) -> None:
        """Nothing smaller got through, or something as large did: size was not the reason."""
        self._last, self._losses, self.refused_bytes, self.sure = None, 0, 0, False
