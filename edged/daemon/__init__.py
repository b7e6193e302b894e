"""The daemon: its life from start to ordered stop, reloads, and who watches that it moves."""

from edged.daemon.run import run_daemon

__all__ = ["run_daemon"]
