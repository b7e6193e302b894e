"""Measures what one message costs from result to socket: encode and publish, in CPU milliseconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

import numpy as np

from edged.bench.figures import Percentiles, median
from edged.bench.meters import thread_cpu_s
from edged.core.errors import BrokerError
from edged.core.types import Detections, FrameMeta, FrameResult
from edged.publish.identity import Origin, origin
from edged.publish.mqtt import MqttPublisher
from edged.publish.options import MqttOptions
from edged.publish.payload import detections_payload, encode

CONNECT_S = 10.0
PAUSE_S = 0.002  # as between frames: each message is sent by itself
GROUP = 20


@dataclass(frozen=True, slots=True)
class MessageFigures:
    """Costs of messages like those received.

    Attributes:
        cpu_ms: CPU milliseconds of all threads per message, from `publish` to the socket; median of groups.
        encode_ms: milliseconds of encoding alone, wall time.
        bytes: of one message, median.
    """

    cpu_ms: float
    encode_ms: Percentiles
    bytes: int


def measure_messages(messages: Sequence[dict[str, Any]], *, classes: Sequence[str], port: int) -> MessageFigures:
    """Publish a daemon's messages again, from this process.

    Raises:
        BrokerError: the broker does not answer.
    """
    results = [_result(message) for message in messages]
    speaker = origin(device="bench-probe", model="bench", classes=classes)
    encoded = [_encode(result, speaker) for result in results]
    before = set(threading.enumerate())
    publisher = MqttPublisher(MqttOptions(host="127.0.0.1", port=port), speaker)
    try:
        network = next(thread for thread in threading.enumerate() if thread not in before)
        _wait_connected(publisher)
        costs = [_cost_ms(publisher, network, results[at : at + GROUP]) for at in range(0, len(results), GROUP)]
    finally:
        publisher.close()
    return MessageFigures(
        cpu_ms=median(costs),
        encode_ms=Percentiles.of([milliseconds for _, milliseconds in encoded]),
        bytes=int(median([size for size, _ in encoded])),
    )


def _cost_ms(publisher: MqttPublisher, network: threading.Thread, results: Sequence[FrameResult]) -> float:
    """CPU milliseconds per message."""
    ours_s, theirs_s = 0.0, thread_cpu_s(network.ident or 0)
    for result in results:
        began_s = time.thread_time()
        publisher.publish(result)
        ours_s += time.thread_time() - began_s
        time.sleep(PAUSE_S)
    time.sleep(10 * PAUSE_S)  # the last one is on its way
    return (ours_s + thread_cpu_s(network.ident or 0) - theirs_s) / len(results) * 1e3


def _encode(result: FrameResult, speaker: Origin) -> tuple[int, float]:
    """Bytes of the encoded message, and milliseconds to encode it."""
    began_s = time.perf_counter()
    payload = detections_payload(
        result,
        device=speaker.device,
        model=speaker.model,
        classes=speaker.classes,
        boot_id=speaker.boot_id,
        session=speaker.session,
        published_at=datetime.now(timezone.utc),
    )
    size = len(encode(payload))
    return size, (time.perf_counter() - began_s) * 1e3


def _wait_connected(publisher: MqttPublisher) -> None:
    until_s = time.monotonic() + CONNECT_S
    while not publisher.counters().connected:
        if time.monotonic() > until_s:
            raise BrokerError(f"the bench's broker did not answer within {CONNECT_S:g} s")
        time.sleep(0.01)


def _result(message: dict[str, Any]) -> FrameResult:
    found = message["detections"]
    width, height = message["size"]
    meta = FrameMeta(
        camera=message["camera"],
        sequence=message["sequence"],
        captured_at=datetime.now(timezone.utc),
        captured_ns=time.monotonic_ns(),
        size_wh=(width, height),
    )
    detections = replace(
        Detections.empty(),
        xyxy=np.array([each["box"] for each in found], np.float32).reshape(-1, 4),
        confidence=np.array([each["confidence"] for each in found], np.float32),
        class_id=np.array([each["class_id"] for each in found], np.int32),
    )
    return FrameResult(meta, detections, message["timings"])
