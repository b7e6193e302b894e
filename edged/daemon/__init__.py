"""The daemon: start, ordered stop, reloads, and the watchdog over its threads."""

from edged.daemon.run import run_daemon

__all__ = ["run_daemon"]
