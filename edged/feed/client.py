"""One connection of the feed: what waits to be sent to it, and what it asked."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterator

from edged.core.errors import DataError
from edged.feed.wire import MOST_ASKED, Message, Unpacker

MOST_QUESTIONS = 512  # stored pictures that it may wait for
MOST_WAITING = 8 << 20  # bytes; a client that leaves more unread is dropped
FEW_WAITING = 1 << 20  # bytes; beyond that it gets no detections, which the next frame replaces
_CHUNK = 1 << 16


class Gone(Exception):
    """The connection is of no use any more."""


class Client:
    """A connected program.

    Args:
        connection: non-blocking; closed by `close`.

    Attributes:
        asked: side of the picture that it waits for, by camera.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.asked: dict[str, int] = {}
        self._questions: deque[Message] = deque()
        self._unpacker = Unpacker(most_json=MOST_ASKED, most_bytes=0)
        self._waiting: deque[memoryview] = deque()
        self._waiting_bytes = 0

    @property
    def has_more(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._waiting)

    @property
    def has_questions(self) -> bool:
        """Whether it waits for stored pictures."""
        return bool(self._questions)

    def wants(self, question: Message) -> None:
        """It asks for a stored picture.

        Raises:
            Gone: it waits for too many already.
        """
        if len(self._questions) >= MOST_QUESTIONS:
            raise Gone(f"it asks for more than {MOST_QUESTIONS} pictures at once")
        self._questions.append(question)

    def wanted(self, most: int) -> list[Message]:
        """Its oldest questions, taken; none while much waits to be sent to it."""
        if self._waiting_bytes > FEW_WAITING:
            return []
        return [self._questions.popleft() for _ in range(min(most, len(self._questions)))]

    def say(self, message: bytes, *, may_be_missed: bool = False) -> None:
        """Send a message in its turn.

        Raises:
            Gone: too much waits already.
        """
        if may_be_missed and self._waiting_bytes > FEW_WAITING:
            return
        if self._waiting_bytes > MOST_WAITING:
            raise Gone("it does not read what it is sent")
        self._waiting.append(memoryview(message))
        self._waiting_bytes += len(message)

    def send(self) -> None:
        """Send what the socket takes now.

        Raises:
            Gone: it was closed.
        """
        while self._waiting:
            part = self._waiting[0]
            try:
                sent = self.connection.send(part)
            except BlockingIOError:
                return
            except OSError as exc:
                raise Gone(exc.strerror or "closed") from exc
            self._waiting_bytes -= sent
            if sent < len(part):
                self._waiting[0] = part[sent:]
                return
            self._waiting.popleft()

    def receive(self) -> Iterator[Message]:
        """What it asks.

        Raises:
            Gone: it was closed, or does not speak the feed's protocol.
        """
        try:
            received = self.connection.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError as exc:
            raise Gone(exc.strerror or "closed") from exc
        if not received:
            raise Gone("closed")
        try:
            yield from (message for message, _ in self._unpacker.feed(received))
        except DataError as exc:
            raise Gone(str(exc)) from exc

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()
