"""What a publisher and its broker said to each other, read from the bytes that passed between them (MQTT 5).

With or without a WebSocket around it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.gates import Traffic
from tests.publish.results import DETECTIONS

PUBLISH, PUBACK = 3, 4
FAILED = 0x80
BINARY, CLOSE, PING, PONG = 0x2, 0x8, 0x9, 0xA


def confirmed(traffic: Traffic) -> set[int]:
    """Deliveries that the broker confirmed on this connection."""
    sent: dict[bytes, int] = {}
    for head, body in _packets(_inner(bytes(traffic.up))):
        end = 2 + int.from_bytes(body[:2], "big")
        if head >> 4 == PUBLISH and body[2:end] == DETECTIONS.encode():
            assert head & 0x06 == 0x02 and body[end + 2] == 0, "QoS 1, no properties"
            sent[body[end : end + 2]] = json.loads(body[end + 3 :])["delivery"]
    answers = [body for head, body in _packets(_inner(bytes(traffic.down))) if head >> 4 == PUBACK]
    return {sent[body[:2]] for body in answers if body[:2] in sent and not (len(body) > 2 and body[2] >= FAILED)}


def _inner(stream: bytes) -> bytes:
    """MQTT's bytes: as they are, or out of the frames that follow a handshake."""
    if not stream.startswith((b"GET ", b"HTTP/")):
        return stream
    return b"".join(content for opcode, _, content in frames(stream.partition(b"\r\n\r\n")[2]) if opcode < CLOSE)


def frames(stream: bytes) -> Iterator[tuple[int, bool, bytes]]:
    """Opcode, whether it was masked, and content, of every whole WebSocket frame."""
    at = 0
    while at + 2 <= len(stream):
        opcode, masked, length = stream[at] & 0x0F, bool(stream[at + 1] & 0x80), stream[at + 1] & 0x7F
        wide = {126: 2, 127: 8}.get(length, 0)
        length = int.from_bytes(stream[at + 2 : at + 2 + wide], "big") if wide else length
        start = at + 2 + wide + 4 * masked
        content, mask = stream[start : start + length], stream[start - 4 : start]
        if len(content) < length:
            return
        plain = bytes(byte ^ mask[number % 4] for number, byte in enumerate(content)) if masked else content
        yield opcode, masked, plain
        at = start + length


def _packets(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """First byte and body of every whole packet."""
    at = 0
    while at + 2 <= len(stream):
        head, length, shift = stream[at], 0, 0
        for at in range(at + 1, len(stream)):  # noqa: B020 - goes on behind the length
            length |= (stream[at] & 0x7F) << shift
            shift += 7
            if stream[at] < 0x80:
                break
        body = stream[at + 1 : at + 1 + length]
        if len(body) < length:
            return
        yield head, body
        at += 1 + length
