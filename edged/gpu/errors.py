"""Device failures after which only a new process helps."""

from __future__ import annotations

from edged.core.errors import DetectorError


class DeviceLost(DetectorError):
    """The device's context is broken or hangs: every later call fails, so the process must end (exit 70)."""
