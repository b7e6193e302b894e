"""One consumer of many that share the work: counts, and looks at the clock in some of the messages."""

from __future__ import annotations

import threading
import time
from datetime import datetime
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event

import orjson
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

EVERY = 50  # messages of which one is opened for its time stamp


def consume(port: int, topic: str, ready: Queue[int], stop: Event, told: Queue[tuple[int, int, list[float]]]) -> None:
    """Tells (messages, bytes, milliseconds from publish to here of some)."""
    messages, size, late_ms = 0, 0, list[float]()

    def note(_client: object, _data: object, message: MQTTMessage) -> None:
        nonlocal messages, size
        messages, size = messages + 1, size + len(message.payload)
        if messages % EVERY == 0:
            published = datetime.fromisoformat(orjson.loads(message.payload)["published_at"].replace("Z", "+00:00"))
            late_ms.append((time.time() - published.timestamp()) * 1e3)

    subscribed = threading.Event()
    client = Client(CallbackAPIVersion.VERSION2)
    client.on_connect = lambda client, *_: client.subscribe(topic)
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = note
    client.connect("127.0.0.1", port)
    client.loop_start()
    ready.put(int(subscribed.wait(10)))
    stop.wait()
    client.disconnect()
    client.loop_stop()
    told.put((messages, size, late_ms))
