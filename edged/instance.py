"""One daemon a device id on a machine: two would take each other's MQTT session away for ever."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from edged.core.errors import ConfigError

_UCRED = struct.Struct("3i")  # pid, uid, gid: socket(7), SO_PEERCRED


@contextmanager
def only_instance(device: str) -> Iterator[None]:
    """Hold the device's name while the context lasts: an abstract socket, gone with the process however it ends.

    Raises:
        ConfigError: another process holds it; the message names it.
    """
    address = f"\0edged/{device}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as holder:
        try:
            holder.bind(address)
            holder.listen()
        except OSError as exc:
            raise ConfigError(
                f"[device] id: {device!r} runs already on this machine{_holder(address)}",
                remedy="stop it first, or give this one another id",
            ) from exc
        yield


def _holder(address: str) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(address)
        except OSError:
            return ""
        pid, uid, _ = _UCRED.unpack(probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return f", process {pid} of user {uid}" if pid != os.getpid() else ", in this very process"
