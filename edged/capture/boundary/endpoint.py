"""The endpoint of a source, as text: `address|address|port`, or the path of a device."""

from __future__ import annotations

MOST_ADDRESSES = 8  # per host name
