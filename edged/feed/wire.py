"""How messages go over the feed's socket: eight bytes of lengths, a JSON object, and bytes beside it (a JPEG)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from edged.core.errors import DataError

PROTOCOL = 1  # a number that a client does not know means messages that it does not know
MOST_JSON, MOST_BYTES = 4 << 20, 32 << 20
MOST_ASKED = 4096  # bytes of what a client may ask in one message

_LENGTHS = struct.Struct(">II")
Message = dict[str, Any]


def packed(message: Mapping[str, Any], content: bytes = b"") -> bytes:
    """A message as it goes over the socket.

    Args:
        message: JSON object with its `kind`.
        content: bytes beside it.

    Raises:
        TypeError: a value that JSON cannot hold.
    """
    encoded = orjson.dumps(message, option=orjson.OPT_UTC_Z)
    return _LENGTHS.pack(len(encoded), len(content)) + encoded + content


class Unpacker:
    """Cuts a stream of bytes into messages.

    Args:
        most_json, most_bytes: larger messages are refused before they are stored.
    """

    def __init__(self, *, most_json: int = MOST_JSON, most_bytes: int = MOST_BYTES) -> None:
        self._most_json, self._most_bytes = most_json, most_bytes
        self._buffer = bytearray()

    def feed(self, received: bytes) -> Iterator[tuple[Message, bytes]]:
        """Take what came; gives each message that is complete, and the bytes beside it.

        Raises:
            DataError: this is not the feed's protocol. The connection is of no use any more.
        """
        self._buffer += received
        while len(self._buffer) >= _LENGTHS.size:
            json_bytes, more_bytes = _LENGTHS.unpack_from(self._buffer)
            if json_bytes > self._most_json or more_bytes > self._most_bytes:
                raise DataError(f"the feed: a message of {json_bytes} and {more_bytes} bytes is too large")
            middle = _LENGTHS.size + json_bytes
            end = middle + more_bytes
            if len(self._buffer) < end:
                return
            encoded, content = bytes(self._buffer[_LENGTHS.size : middle]), bytes(self._buffer[middle:end])
            del self._buffer[:end]
            yield _decoded(encoded), content


def _decoded(encoded: bytes) -> Message:
    try:
        message = orjson.loads(encoded)
    except orjson.JSONDecodeError as exc:
        raise DataError(f"the feed: not JSON: {exc}") from exc
    if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
        raise DataError("the feed: expected a JSON object with a kind")
    return message
