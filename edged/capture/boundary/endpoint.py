"""Where an absent source would be found, as text: `address|address|port`, or the path of a device."""

from __future__ import annotations

MOST_ADDRESSES = 8  # of one name
