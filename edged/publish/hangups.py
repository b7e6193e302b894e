"""What a broker takes at most where it does not say so but hangs up: learned from the messages that went with it.

Without this a message that must arrive would be sent again with every connection and end it, for ever.
"""

from __future__ import annotations

LOSSES_IN_A_ROW = 3  # with the same message; a broker that restarts may take one or two with it
LOSSES_ONCE_PROVED = 2  # of a broker that is known to do so; one may be an earlier message whose answer was not read


class SizeGuard:
    """Suspects a size, holds it back, and is sure only where a smaller message gets through.

    A broker that hangs up for another reason (access rules, two clients with one id) takes smaller messages no
    better: then nothing is held to be too large, and what was held back goes out again.
    """

    def __init__(self) -> None:
        self._last: object = None
        self._losses = 0
        self.refused_bytes = 0  # the smallest that is suspected or refused; 0: none
        self.largest_passed = 0
        self.sure = False
        self._proved = False  # once

    @property
    def suspicious(self) -> bool:
        """Whether a size is suspected and not proved."""
        return bool(self.refused_bytes) and not self.sure

    def refuses(self, size: int) -> bool:
        """Whether a message of `size` bytes is too large, or suspected of it."""
        return 0 < self.refused_bytes <= size

    def hung_up(self, message: object, size: int) -> None:
        """The broker ended a connection on which `message` was the first that it did not confirm."""
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
