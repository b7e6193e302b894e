"""One form for the topics of all messages, for brokers that take no others: `devices/a/messages/events/kind={kind}`.

Inside the publisher a message keeps its own topic, under which states replace each other and durable messages wait;
only what is sent bears the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from edged.publish.topics import Topics

PLACES = ("device", "camera", "kind")
_MOST_BYTES = 65_535  # of any text in MQTT
_PLACE = re.compile(r"\{([^{}]*)\}")
_FORBIDDEN = re.compile(r"[+#\x00-\x1f\x7f]")


def require_template(text: str) -> None:
    """Raise ValueError unless `text` makes topics; it may hold `{device}`, `{camera}` and `{kind}`."""
    for name in _PLACE.findall(text):
        if name not in PLACES:
            raise ValueError(f"topic knows {{device}}, {{camera}} and {{kind}}, got {{{name}}}")
    rest = _PLACE.sub("", text)
    if "{" in rest or "}" in rest:
        raise ValueError("topic has a brace without its partner; it knows {device}, {camera} and {kind}")
    if _FORBIDDEN.search(rest) or text != text.strip() or len(text.encode()) > _MOST_BYTES:
        raise ValueError("topic must be a topic without + # control characters, and blanks at its ends")


def tells_apart(text: str) -> bool:
    """Whether each state has a topic of its own, so that the broker can retain all of them."""
    return {"camera", "kind"} <= set(_PLACE.findall(text))


def router(topics: Topics, text: str) -> Callable[[str], str]:
    """What gives the topic on which a message is sent, from its own.

    A level that is `{camera}` alone is left out of messages that are of no camera. A message from before a change of
    the device's id or prefix waits under its old topic: its last two levels are camera and kind, too.

    Args:
        topics: of the device.
        text: the template; empty leaves every topic as it is.

    Raises:
        ValueError: it makes no topics.
    """
    require_template(text)
    if not text:
        return str

    def sent_on(topic: str) -> str:
        own = topic.removeprefix(f"{topics.base}/")
        *camera, kind = own.split("/") if own != topic else topic.split("/")[-2:]
        return _filled(text, topics.device, camera[-1] if camera else "", kind)

    return sent_on


@lru_cache(maxsize=1024)
def _filled(text: str, device: str, camera: str, kind: str) -> str:
    values = {"device": device, "camera": camera, "kind": kind}
    levels = [level for level in text.split("/") if camera or level != "{camera}"]
    return _PLACE.sub(lambda place: values[place[1]], "/".join(levels))
