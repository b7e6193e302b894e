"""A throw-away Debian under a real systemd, booted by systemd-nspawn on a machine whose own first process is another.

Needs root, `systemd-container`, `debootstrap`, and for the wheels `gcc`, `pkg-config` and `libsystemd-dev`. Every boot
starts from the same clean system; what is changed in it is gone afterwards. It has no network but its own loopback.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,make,mosquitto,mosquitto-clients,libsystemd0,procps,iproute2"
ROOT = Path(os.environ.get("EDGED_TEST_GUEST", "/var/tmp/edged-guest"))
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8", "SYSTEMD_PAGER": "cat"}
BOOT_S = 90.0
HALT_S = 40.0
# /run as a tmpfs of its own, because nspawn refuses to clean up one that lies on a disk; nothing reaches the host.
LAUNCH = 'for c in $CGROUPS; do echo $$ > "$c/cgroup.procs"; done; mount -t tmpfs -o mode=755 run /run; exec "$@"'


def why_not() -> str:
    """Why no guest can be booted here; empty where it can."""
    if os.geteuid() != 0:
        return "a booted systemd needs root"
    missing = [tool for tool in ("systemd-nspawn", "debootstrap", "nsenter", "unshare") if shutil.which(tool) is None]
    if missing:
        return f"{missing[0]} is not installed (apt-get install systemd-container debootstrap)"
    journal = ["sh", "-c", "command -v cc && pkg-config --exists libsystemd"]
    if subprocess.run(journal, capture_output=True, check=False).returncode:
        return "the journal's fields need systemd-python built here (apt-get install gcc pkg-config libsystemd-dev)"
    return ""


def build() -> None:
    """Make the system that every guest starts from, once; about two minutes and a network."""
    if (ROOT / "ready").exists():
        return
    shutil.rmtree(ROOT, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(ROOT), *mirror()]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=1200)
    (ROOT / "etc/machine-id").write_text("")  # a fresh one at every boot
    (ROOT / "etc/hostname").write_text("edged-test\n")
    (ROOT / "etc/hosts").write_text("127.0.0.1 localhost edged-test\n::1 localhost\n")
    subprocess.run(["chroot", str(ROOT), "systemctl", "disable", "mosquitto"], check=True, capture_output=True)
    (ROOT / "ready").touch()


def enter(root: Path, *command: str, first: str = ":") -> list[str]:
    """A command line that runs `command` in `root` with a /proc of its own, which is gone with it.

    Args:
        root: a system's directory.
        command: in it.
        first: of the shell, before; `$0` is the root.
    """
    own = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]
    return [*own, f'set -e; mount -t proc proc "$0/proc"; {first}; exec chroot "$0" "$@"', str(root), *command]


def mirror() -> list[str]:
    """The Debian mirror that this machine uses, as an argument of debootstrap; none where that is not known."""
    listed = [*Path("/etc/apt").glob("sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    found = re.search(r"(?m)^(?:URIs:|deb)\s.*?(\S+/debian)/?(?=\s|$)", "\n".join(file.read_text() for file in listed))
    return [found[1]] if found else []


class Guest:
    """One booted system. `binds` are host directories, read-only, by their place in the guest."""

    _numbers = itertools.count()

    def __init__(self, folder: Path, *, binds: Mapping[str, Path]) -> None:
        self._name = f"edged-test-{os.getpid()}-{next(self._numbers)}"
        self._console = folder / "console"
        self._binds = binds
        self._cgroups = [
            Path(tree) / self._name
            for tree in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup")
            if Path(tree, "cgroup.procs").exists()
        ]
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._init = 0

    def __enter__(self) -> Guest:
        try:
            self._launch()
            self._await(self._find_init, BOOT_S, "the guest's first process")
            self._await(lambda: self._state() in {"running", "degraded"}, BOOT_S, "the guest's boot")
        except BaseException:
            self.halt()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.halt()

    def _launch(self) -> None:
        for cgroup in self._cgroups:
            cgroup.mkdir(exist_ok=True)
        nspawn = ["systemd-nspawn", "--quiet", "-D", str(ROOT), f"--machine={self._name}", "--boot",
                  "--register=no", "--keep-unit", "--volatile=overlay", "--private-network", "--console=pipe",
                  "--resolv-conf=off", "--timezone=off", "--link-journal=no",
                  # DeviceAllow= is a BPF program.
                  "--capability=CAP_BPF,CAP_PERFMON,CAP_NET_ADMIN", "--system-call-filter=bpf",
                  *(f"--bind-ro={source}:{place}" for place, source in self._binds.items())]  # fmt: skip
        own = ["setpriv", "--pdeathsig", "TERM", "unshare", "--mount", "--propagation", "private"]
        environment = {
            **os.environ,
            "CGROUPS": " ".join(map(str, self._cgroups)),
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "yes",
            "SYSTEMD_NSPAWN_TMPFS_TMP": "1",
        }
        with self._console.open("wb") as console:
            self._nspawn = subprocess.Popen(
                [*own, "sh", "-c", LAUNCH, "sh", *nspawn],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=environment,
            )

    def _find_init(self) -> bool:
        assert self._nspawn is not None
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        if children and Path(f"/proc/{children[0]}/comm").read_text().strip() == "systemd":
            self._init = int(children[0])
        return bool(self._init)

    def _state(self) -> str:
        return self.run("systemctl", "is-system-running", check=False).stdout.strip()

    def _await(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        assert self._nspawn is not None
        until = time.monotonic() + timeout_s
        while not condition():
            if self._nspawn.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"{what} did not come: {self._console.read_text(errors='replace')[-3000:]}")
            time.sleep(0.2)

    def command(self, *command: str) -> list[str]:
        """`command` as the host runs it inside the guest."""
        spaces = [f"--{space}" for space in ("mount", "uts", "ipc", "net", "pid", "cgroup")]
        environment = [f"{key}={value}" for key, value in ENVIRONMENT.items()]
        return ["nsenter", "--target", str(self._init), *spaces, "--", "env", "-i", *environment, *command]

    def run(self, *command: str, timeout_s: float = 60.0, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end."""
        done = subprocess.run(
            self.command(*command), capture_output=True, text=True, timeout=timeout_s, check=False, errors="replace"
        )
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def write(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Write a file inside."""
        self.run("sh", "-c", 'umask 077; mkdir -p "$(dirname "$1")"; printf %s "$2" > "$1"; chmod "$3" "$1"', "sh",
                 path, text, f"{mode:o}")  # fmt: skip

    def show(self, unit: str, key: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", unit, "-P", key).stdout.strip()

    def journal(self, *matches: str, since: str = "") -> str:
        """What units wrote, JSON a line."""
        limits = ["--since", since] if since else []
        return self.run("journalctl", "--no-pager", "-o", "json", *limits, *matches, check=False).stdout

    def halt(self) -> None:
        """Shut down; safe to call twice."""
        if self._nspawn is not None and self._nspawn.poll() is None:
            self._nspawn.terminate()
            try:
                self._nspawn.wait(HALT_S)
            except subprocess.TimeoutExpired:
                if self._init:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(self._init, 9)
                self._nspawn.kill()
                self._nspawn.wait(10)
        for cgroup in self._cgroups:
            _remove_cgroup(cgroup)


def _remove_cgroup(cgroup: Path) -> None:
    for _ in range(20):
        for folder in _deepest_first(cgroup):
            with contextlib.suppress(OSError):
                folder.rmdir()
        if not cgroup.exists():
            return
        time.sleep(0.2)


def _deepest_first(folder: Path) -> Sequence[Path]:
    below = [path for path in folder.rglob("*") if path.is_dir()] if folder.exists() else []
    return [*sorted(below, key=lambda path: -len(path.parts)), folder]


if __name__ == "__main__":
    build()
