"""Power cuts, MemoryMax=, the clock and cameras, in a small virtual machine in emulation: `python -m tests.vm`.

Needs root, qemu-system-x86, and what `make test-systemd` needs. It takes some minutes. The image is made anew each
time, or kept with --work.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.handmade import write_bundle
from tests.service import guest as booted

PROJECT = Path(__file__).parents[2]
KERNEL = ("linux-image-amd64", "initramfs-tools", "kmod")  # that for clouds has no vivid, the virtual camera
IMAGE_BYTES = 4 << 30
SCENARIO_S = 900.0
CUT_AFTER = 20  # findings of the first half of the power cut: some ten seconds of messages that wait
CONFIG = """\
[device]
id = "box"
[model]
bundle = "/var/lib/edged/models/active"
[mqtt]
host = "127.0.0.1"
[publish]
durable = true
stats_interval_s = 5.0
[[camera]]
name = "gate"
source = "test:?size=320x240&fps=5"
open_timeout_s = 60.0
read_timeout_s = 60.0
"""
UNIT = """\
[Unit]
After=multi-user.target
[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart=/usr/bin/python3 -u /srv/guest.py
ExecStopPost=/bin/systemctl --force poweroff
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
[Install]
WantedBy=multi-user.target
"""
SLOW = "[Service]\nTimeoutStartSec=300\nWatchdogSec=120\n"  # emulation is some ten times slower


@dataclass
class Seen:
    """What a scenario said."""

    name: str
    found: list[dict[str, Any]] = field(default_factory=list)
    done: bool = False

    @property
    def failed(self) -> bool:
        """Whether it did not come to its end, or said that something did not happen."""
        return not self.done or any("failed" in each for each in self.found)

    def last(self, key: str) -> Any:
        """The newest finding of that name."""
        return next((each[key] for each in reversed(self.found) if key in each), None)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where every row holds."""
    parser = argparse.ArgumentParser(prog="python -m tests.vm", description=__doc__)
    parser.add_argument("scenarios", nargs="*", default=["clock", "memory", "power", "video"])
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep the image there, and take the one that is there")
    chosen = parser.parse_args(arguments)
    with ExitStack() as resources:
        scratch = chosen.work or Path(resources.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
        machine = Machine(scratch)
        holds = [_judged(machine, name) for name in chosen.scenarios]
    return 0 if all(holds) else 1


def _judged(machine: Machine, name: str) -> bool:
    seen = machine.run(name, cut_after=CUT_AFTER if name == "power" else 0)
    for found in seen.found[-8:]:
        print(f"{name}: {json.dumps(found)}", flush=True)
    if name == "clock":
        good = not seen.failed and seen.last("restarts") == 0 and seen.last("reconnects") == 0
    elif name == "video":
        good = not seen.failed and seen.last("recovered_s") is not None
    elif name == "memory":
        good = not seen.failed and seen.last("oom_kills") > 0
    else:
        good = _power(machine, seen)
    print(f"{name}: {'holds' if good else 'DOES NOT HOLD'}", flush=True)
    return good


def _power(machine: Machine, before: Seen) -> bool:
    """The machine starts again from the disk that the cut left."""
    after = machine.run("after-power", fresh=False)
    heard = {*(before.last("heard") or ()), *(after.last("heard") or ())}
    committed = before.last("committed") or 0
    lost = sorted(set(range(1, committed + 1)) - heard)
    print(
        f"power: {committed} committed before the cut, {after.last('waiting')} the highest found after it, "
        f"{len(lost)} of them lost, in order: {after.last('ordered')}, quarantined: {after.last('quarantined')}",
        flush=True,
    )
    if after.failed:
        print(f"power: {after.found[-1:]}", flush=True)
    return not (after.failed or lost or after.last("quarantined")) and committed > 0 and bool(after.last("ordered"))


class Machine:
    """A disk image with edged installed, and the emulator."""

    def __init__(self, scratch: Path) -> None:
        self._root, self._image, self._disk = scratch / "root", scratch / "clean.img", scratch / "disk.img"
        if self._image.exists():
            return
        print("making the image ...", flush=True)
        booted.build()
        shutil.rmtree(self._root, ignore_errors=True)
        scratch.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", str(booted.ROOT), str(self._root)], check=True)
        self._add_kernel()
        self._install(scratch / "wheels")
        self._add_scenarios()
        with self._image.open("wb") as file:
            file.truncate(IMAGE_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-d", str(self._root), str(self._image)], check=True)

    def _inside(self, *command: str) -> None:
        done = subprocess.run(booted.enter(self._root, *command), capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)}: {done.stderr[-1000:]}")

    def _add_kernel(self) -> None:
        for name in ("etc/resolv.conf", "etc/hosts", "etc/ssl/certs/ca-certificates.crt"):
            if Path("/", name).exists():
                (self._root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(Path("/", name), self._root / name)
        for file in Path("/etc/apt/apt.conf.d").glob("99*"):
            shutil.copyfile(file, self._root / "etc/apt/apt.conf.d" / file.name)
        self._inside("apt-get", "update", "-qq")
        self._inside("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq",
                     "--no-install-recommends", *KERNEL)  # fmt: skip

    def _install(self, wheels: Path) -> None:
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "WHEELS": str(wheels), "EXTRAS": "cpu"}
        script = str(PROJECT / "systemd/install.sh")
        subprocess.run(["sh", script, "wheels"], check=True, env={**environment, "PYTHON": sys.executable})
        shutil.copytree(wheels, self._root / "srv/wheels")
        shutil.copytree(PROJECT, self._root / "srv/project", ignore=shutil.ignore_patterns(".*", "build", "runs"))
        self._inside("env", "WHEELS=/srv/wheels", "EXTRAS=cpu", "PYTHON=/usr/bin/python3",
                     "sh", "/srv/project/systemd/install.sh", "install")  # fmt: skip

    def _add_scenarios(self) -> None:
        root = self._root
        store = root / "var/lib/edged/models"
        write_bundle(store / ".objects/squares")
        (store / "active").unlink(missing_ok=True)
        (store / "active").symlink_to(".objects/squares")
        (root / "etc/edged/edged.toml").write_text(CONFIG)
        shutil.copyfile(Path(__file__).with_name("guest.py"), root / "srv/guest.py")
        (root / "etc/systemd/system/scenario.service").write_text(UNIT)
        drop_in = root / "etc/systemd/system/edged.service.d/slow.conf"
        drop_in.parent.mkdir(parents=True)
        drop_in.write_text(SLOW)
        (root / "etc/mosquitto/conf.d/test.conf").write_text(
            "listener 1883 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n"
        )
        (root / "etc/fstab").write_text("/dev/vda / ext4 defaults 0 1\n")
        self._inside("chown", "-R", "edged:edged", "/var/lib/edged")
        self._inside("systemctl", "enable", "scenario.service")
        self._inside("systemctl", "mask", "serial-getty@ttyS0.service")  # it would hang up on the scenario

    def run(self, name: str, *, fresh: bool = True, cut_after: int = 0) -> Seen:
        """Boot, let the scenario run to its end, or cut the power after so many findings of what is on disk."""
        if fresh:
            subprocess.run(["cp", "--sparse=always", str(self._image), str(self._disk)], check=True)
        seen = Seen(name)
        with subprocess.Popen(self._command(name), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                              errors="replace") as emulator:  # fmt: skip
            limit = threading.Timer(SCENARIO_S, emulator.kill)
            limit.start()
            for line in map(str.strip, emulator.stdout or ()):
                if "SAW {" in line:  # behind what the kernel may have begun to say
                    seen.found.append(json.loads(line.partition("SAW ")[2]))
                seen.done |= line.endswith("DONE")
                if cut_after and sum("committed" in each for each in seen.found) >= cut_after:
                    seen.done = True
                    emulator.kill()  # the power cut
            limit.cancel()
        return seen

    def _command(self, name: str) -> list[str]:
        kernel, initrd = (str(next((self._root / "boot").glob(f"{kind}-*"))) for kind in ("vmlinuz", "initrd.img"))
        append = f"root=/dev/vda rw console=ttyS0 panic=-1 quiet edged.scenario={name}"
        return ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "1536", "-smp", "2",
                "-nographic", "-no-reboot", "-kernel", kernel, "-initrd", initrd, "-append", append,
                "-drive", f"file={self._disk},if=virtio,format=raw", "-net", "none"]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
