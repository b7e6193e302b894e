"""Source addresses without their secrets: what logs, status messages and MQTT may show."""

import re

# Greedy up to the last @ of the word: an unescaped @ or / in a password must not leak its tail.
_USERINFO = re.compile(r"://\S*@")
_QUERY = re.compile(r"(://[^\s?]*)\?\S*")
_GSTREAMER_SECRET = re.compile(r"\b(user-id|user-pw|proxy-id|proxy-pw)=(\"[^\"]*\"|\S+)")


def redact(source: str) -> str:
    """`source` with the user, password and query of every URL in it replaced by `***`.

    Works on any text, GStreamer pipelines and messages that quote a URL included.
    """
    text = _USERINFO.sub("://***@", source)
    text = _QUERY.sub(r"\1?***", text)
    return _GSTREAMER_SECRET.sub(r"\1=***", text)
