"""Tests side by side (`pytest -n 2`): what must not run at once, and a network for each worker.

Daemons of one device id exclude each other on a machine, by a name in the network namespace; as root each worker has
a namespace of its own, in which it has all ports, too. Where that cannot be, one worker runs all tests of daemons.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
OWN_NETWORK = "EDGED_TESTS_OWN_NETWORK"  # set where a worker could have a namespace of its own
# Their fixtures of a session cost more than their tests gain by being apart.
TOGETHER = ("provisioning/quantize", "provisioning/recipe", "gpu/short_run")
DAEMONS = ("faults", "demo", "view", "bench", "test_daemon", "test_commands", "test_reference", "test_standard_streams")
_CLONE_NEWNET = 0x4000_0000
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is one of several that share the tests; a pytest that a test starts is none."""
    return hasattr(config, "workerinput")


def group_of(path: Path) -> str:
    """What the tests of a file must share a worker with: by default each other."""
    name = path.relative_to(ROOT).as_posix()
    if OWN_NETWORK not in os.environ and name.startswith(DAEMONS):
        return "daemons"
    return next((folder for folder in TOGETHER if name.startswith(folder)), name)


def offer_own_networks() -> None:
    """In the process that starts the workers: find out whether they can have namespaces."""
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False) if os.geteuid() == 0 else None
    if done is not None and done.returncode == 0 and shutil.which("ip"):
        os.environ[OWN_NETWORK] = "1"


def enter_own_network() -> None:
    """In a worker: go into a network namespace of its own, with loopback, and silence at every other address."""
    if OWN_NETWORK not in os.environ:
        return
    os.environ["RES_OPTIONS"] = "timeout:1 attempts:1"  # no name server answers there
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))
    for family in ("-4", "-6"):
        subprocess.run(["ip", family, "route", "add", "default", "dev", "lo"], capture_output=True, check=False)
