"""One daemon per device id on a machine: two would take over each other's MQTT session again and again."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from edged.core.errors import ConfigError

_UCRED = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED


@contextmanager
def only_instance(device: str) -> Iterator[None]:
    """Reserve a device id in this context by an abstract socket, which the kernel frees however the process ends.

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
