"""The topics of a device: `<prefix>/<device>/...`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edged.core.names import require_name

PREFIX = "edged"
_PREFIX = re.compile(r"[^\s+#/$\x00-\x1f][^+#\x00-\x1f]*(?<!/)")


_NO_LEVEL = re.compile(r"[+#/$\x00-\x1f]")


def level(label: str) -> str:
    """A class name as one level of a topic: what may not stand there becomes `_`."""
    return _NO_LEVEL.sub("_", label) or "_"


@dataclass(frozen=True, slots=True)
class Topics:
    """Topic names of one device.

    Args:
        device: `[a-z0-9_-]+`.
        prefix: levels before the device, without wildcards, no `/` at either end.

    Raises:
        ValueError: a name or prefix that cannot be part of a topic.
    """

    device: str
    prefix: str = PREFIX

    def __post_init__(self) -> None:
        require_name("device id", self.device)
        if not _PREFIX.fullmatch(self.prefix) or "//" in self.prefix:
            raise ValueError(
                f"topic prefix {self.prefix!r} must be levels joined by /, without + # or control characters"
            )

    @property
    def base(self) -> str:
        """The first levels of all topics of the device."""
        return f"{self.prefix}/{self.device}"

    @property
    def status(self) -> str:
        """`online` or `offline`, retained; the last will."""
        return f"{self.base}/status"

    @property
    def info(self) -> str:
        """What runs on the device, retained JSON."""
        return f"{self.base}/info"

    @property
    def stats(self) -> str:
        """Rates, drops, latencies, JSON."""
        return f"{self.base}/stats"

    def camera_status(self, camera: str) -> str:
        """`online` or `offline` of one camera, retained."""
        return f"{self.base}/{camera}/status"

    def camera_health(self, camera: str) -> str:
        """State, reason, since, reconnects of one camera, retained JSON."""
        return f"{self.base}/{camera}/health"

    def camera_objects(self, camera: str) -> str:
        """How many objects a camera shows now, retained JSON."""
        return f"{self.base}/{camera}/objects"

    def events(self, camera: str) -> str:
        """One JSON message per start, update and end of an event."""
        return f"{self.base}/{camera}/events"

    def snapshot(self, camera: str, label: str) -> str:
        """The latest picture of an object with this label, retained JPEG."""
        return f"{self.base}/{camera}/snapshot/{level(label)}"

    def detections(self, camera: str) -> str:
        """One JSON message per processed frame."""
        return f"{self.base}/{camera}/detections"
