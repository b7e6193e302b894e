"""Finds, once, the retained topics that earlier runs left at the broker for cameras no longer configured.

A retained message belongs to this device only if its content says so: the topic may be another device's, whose prefix
is this device's base. It uses a short connection of its own; the connection that publishes never subscribes.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import orjson

from edged.core.errors import BrokerError
from edged.core.names import is_camera_name
from edged.publish.connection import Connection
from edged.publish.faults import SESSION_TAKEN_OVER, BrokerRefusal
from edged.publish.home_assistant.announcer import announcement_filters
from edged.publish.home_assistant.messages import announces
from edged.publish.options import MqttOptions
from edged.publish.topics import Topics

logger = logging.getLogger(__name__)

WINDOW_S = 10.0
QUIET_S = 1.0  # after the last message: a broker sends retained messages at once
MOST_FOUND = 10_000  # a limit for a broker that sends without end
MOST_TRIES, RETRY_S = 3, 5.0  # then nothing is known of what the broker holds
MOST_LOST = 2  # attempts; a broker that identifies clients by user name closes the publishing connection for each


class Leftovers:
    """What the broker retains below a device's base, sorted by device.

    Args:
        topics: the device's.
        discovery_prefix: Home Assistant's.

    Attributes:
        announced: contents of the discovery messages of this device, by topic.
        readable: the broker let this device read its own topics.
        complete: everything that the broker holds was read.
    """

    def __init__(self, topics: Topics, *, discovery_prefix: str) -> None:
        self._topics = topics
        self._discovery_prefix = discovery_prefix
        self._held: set[str] = set()
        self._cameras: set[str] = set()
        self._devices: set[str] = set()
        self.announced: dict[str, dict[str, Any]] = {}
        self.readable = False
        self.complete = False

    @property
    def filters(self) -> list[str]:
        """Topic filters to subscribe to; last the device's own status, which shows whether reading is allowed."""
        below = [f"{self._topics.base}/+/{leaf}" for leaf in ("info", "health", "status", "objects")]
        return [*announcement_filters(self._topics, prefix=self._discovery_prefix), *below, self._topics.status]

    def note(self, topic: str, payload: bytes, retained: bool) -> None:  # noqa: FBT001 - the connection's callback
        """Take one message; its content is used only to tell which device its topic belongs to."""
        if topic == self._topics.status:
            self.readable = True
        if not retained or len(self._held) >= MOST_FOUND:
            return
        content = _json(payload)
        base = f"{self._topics.base}/"
        if not topic.startswith(base):
            if announces(topic, content, self._topics):
                self.announced[topic] = content
            return
        name, _, leaf = topic.removeprefix(base).partition("/")
        if is_camera_name(name):
            self._held.add(topic)
            if leaf == "info" and _schema(content) == "edged.info":
                self._devices.add(name)
            if leaf == "health" and _schema(content) == "edged.health" and self._is_of(content, name):
                self._cameras.add(name)

    def _is_of(self, content: dict[str, Any], camera: str) -> bool:
        return content.get("device") == self._topics.device and content.get("camera") == camera

    def found(self) -> set[str]:
        """Topics that the broker retains of cameras of this device, but for announcements."""
        ours: set[str] = set()
        for name in self._cameras:
            topics = {self._topics.camera_objects(name), self._topics.camera_health(name)}
            if name not in self._devices:  # else `<name>/status` belongs to a device whose prefix is this base
                topics.add(self._topics.camera_status(name))
            ours |= topics & self._held
        return ours


def _json(payload: bytes) -> dict[str, Any]:
    try:
        content = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}


def _schema(content: dict[str, Any]) -> str:
    return str(content.get("schema")).partition("/")[0]


class Search:
    """One search at the broker, in a thread of its own.

    Args:
        options: the broker.
        client_id: for the search; not that of the connection that publishes.
        context: TLS; None for plain TCP.
        found: empty; collects what the broker retains.
        on_end: called in that thread when the search is over, whatever it found; returns whether that is settled, else
            it is called again at the next connection.
    """

    def __init__(
        self,
        options: MqttOptions,
        *,
        client_id: str,
        context: ssl.SSLContext | None,
        found: Leftovers,
        on_end: Callable[[], bool],
    ) -> None:
        self._options = options
        self._client_id = client_id
        self._context = context
        self._found = found
        self._on_end = on_end
        self._lock = threading.Lock()  # `stop` must not join a thread that is not started yet
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._done = False  # nothing more is looked for
        self._settled = False  # and what follows from it is over
        self._tries = self._lost = 0
        self._said = False
        self._running = self._again = False

    def begin(self) -> None:
        """Start the search if it was not done yet; called when the broker has been reached. Does not wait."""
        with self._lock:
            if self._settled or self._stopped.is_set():
                return
            self._again = self._running
            if not self._running:
                self._running = True
                self._thread = threading.Thread(target=self._run, name="mqtt-leftovers", daemon=True)
                self._thread.start()

    @property
    def running(self) -> bool:
        """Whether a search, or what follows from it, is under way."""
        return self._running

    def stop(self, timeout_s: float) -> None:
        """Stop the search; waits at most `timeout_s` for the thread, which otherwise ends by itself."""
        with self._lock:
            self._stopped.set()
            thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopped.is_set():
            if not self._done:
                self._try()
            if self._stopped.is_set():
                break
            if self._done or self._tries >= MOST_TRIES:
                self._settled = self._on_end()
            elif not self._stopped.wait(RETRY_S):
                continue
            with self._lock:
                if self._settled or not self._again:
                    self._running = False
                    return
                self._again = False
        self._running = False

    def _try(self) -> None:
        self._tries += 1
        try:
            self._look()
        except BrokerRefusal as exc:
            self._done = True
            self._say(str(exc))
        except BrokerError as exc:
            logger.debug("the search for old retained messages is repeated: %s", exc)
        except Exception:
            self._done = True
            logger.exception("the search for old retained messages failed")

    def _look(self) -> None:
        connection = Connection(self._options, client_id=self._client_id, will=None, context=self._context)
        try:
            connection.open(stop=self._stopped.is_set)
            connection.subscribe(self._found.filters, self._found.note)
            self._listen(connection)
            lost, taken_over = connection.lost, connection.lost_code == SESSION_TAKEN_OVER
            connection.close()
        finally:
            connection.abort()
        if self._stopped.is_set():
            return
        self._lost += bool(lost)
        self._done = taken_over or self._lost >= MOST_LOST or (not lost and connection.granted is not None)
        if lost:
            self._say(f"the connection ended ({lost})")
        elif connection.granted is None:
            self._say("the broker does not answer")
        elif not (self._found.readable and connection.granted):
            self._say("its access rules seem to forbid this device to read its own topics, or Home Assistant's of it")
        else:
            self._found.complete = True

    def _listen(self, connection: Connection) -> None:
        """Receive until nothing has come for `QUIET_S`, or up to `WINDOW_S` while an expected answer is missing."""
        until = quiet_since = time.monotonic()
        until += WINDOW_S
        heard = -1
        while not (connection.lost or self._stopped.is_set()) and time.monotonic() < until:
            if heard != connection.received or connection.granted is None:
                heard, quiet_since = connection.received, time.monotonic()
            elif (self._found.readable or not connection.granted) and time.monotonic() - quiet_since > QUIET_S:
                return
            connection.step(0.1)

    def _say(self, why: str) -> None:
        level = logging.DEBUG if self._said else logging.INFO
        self._said = True
        logger.log(
            level,
            "broker %s: what it retains of cameras that were removed while edged was down is not looked for: %s",
            self._options.address,
            why,
        )
