"""Runs inside the virtual machine, with nothing but Debian's Python: one scenario, its findings on the console.

The host sees the console only: a line `SAW {json}` is what a scenario found, `DONE` its end.
"""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

OUTBOX = Path("/var/lib/edged/outbox/outbox.db")
START_S = 240.0  # everything is emulated: some ten times slower than on the processor itself
BACK_S = 120.0


def say(**found: object) -> None:
    """One finding, whole, at once."""
    sys.stdout.write("SAW " + json.dumps(found) + "\n")
    sys.stdout.flush()


def run(*command: str) -> str:
    """Run to the end; its output."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def wait(condition: Callable[[], object], *, timeout_s: float, what: str) -> float:
    """The seconds until it holds."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > timeout_s:
            say(failed=what, journal=run("journalctl", "-u", "edged", "-n", "15", "--no-pager", "-o", "cat"))
            sys.exit(1)
        time.sleep(0.1)
    return round(time.monotonic() - began, 1)


class Listener:
    """An independent client: counts detections, keeps their delivery numbers and the camera's last health."""

    def __init__(self) -> None:
        self.count = 0
        self.deliveries: list[int] = []
        self.reconnects = 0
        self._client = subprocess.Popen(
            [
                "mosquitto_sub",
                "-q",
                "1",
                "-i",
                "listener",
                "-c",
                "-t",
                "edged/#",
                "-T",
                "edged/+/+/snapshot/+",
                "-F",
                "%t %p",
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._client.stdout or ():
            topic, _, payload = line.partition(" ")
            if topic.endswith(("/detections", "/events")):
                self.count += topic.endswith("/detections")
                self.deliveries.append(json.loads(payload).get("delivery", 0))
            elif topic.endswith("/health"):
                self.reconnects = max(self.reconnects, json.loads(payload)["reconnects"])

    def more(self, count: int) -> Callable[[], bool]:
        """Whether so many came since now."""
        target = self.count + count
        return lambda: self.count >= target


def start() -> Listener:
    """Broker, client and daemon, detections flowing."""
    run("systemctl", "start", "mosquitto")
    listener = Listener()
    run("systemctl", "start", "edged")
    say(started_s=wait(listener.more(10), timeout_s=START_S, what="detections"))
    return listener


def show(key: str) -> str:
    """A property of the unit."""
    return run("systemctl", "show", "edged", "-P", key)


def clock() -> None:
    """Row 26: an hour forth, two back, one forth, while cameras run."""
    listener = start()
    restarts, reconnects = show("NRestarts"), listener.reconnects
    for hours in (1, -2, 1):
        run("date", "-s", f"{hours:+d} hour")
        time.sleep(30)
        say(step_h=hours, back_s=wait(listener.more(5), timeout_s=BACK_S, what="detections after the step"))
    words = run("journalctl", "-u", "edged", "--no-pager", "-o", "cat")
    said = re.findall(r".*clock.*", words)
    say(
        restarts=int(show("NRestarts")) - int(restarts),
        reconnects=listener.reconnects - reconnects,
        said=said[:3],
    )


def memory() -> None:
    """Row 24: the unit's MemoryMax= falls below what the daemon holds; the kernel kills, systemd restarts."""
    listener = start()
    before = int(show("NRestarts"))
    held = int(show("MemoryCurrent"))
    run("systemctl", "set-property", "--runtime", "edged", "MemorySwapMax=0", f"MemoryMax={held // 3}")
    killed_s = wait(lambda: int(show("NRestarts")) > before, timeout_s=BACK_S, what="a restart by systemd")
    run("systemctl", "set-property", "--runtime", "edged", "MemoryMax=infinity")
    began = listener.count
    back_s = wait(lambda: listener.count > began + 5, timeout_s=START_S, what="detections after the kill")
    words = run("journalctl", "--no-pager", "-o", "cat").splitlines()
    killed = [line for line in words if "oom-kill:constraint" in line or "OOM killer" in line]
    say(held_mb=held >> 20, killed_s=killed_s, back_s=back_s, oom_kills=len(killed), said=killed[:2])


def committed() -> int:
    """The highest delivery number that the outbox holds on disk."""
    with sqlite3.connect(f"file:{OUTBOX}?mode=ro", uri=True, timeout=5) as outbox:
        tables = [row[0] for row in outbox.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        table = next(
            name for name in tables if "delivery" in str(outbox.execute(f"PRAGMA table_info({name})").fetchall())
        )
        return int(outbox.execute(f"SELECT COALESCE(MAX(delivery), 0) FROM {table}").fetchone()[0])


def power() -> None:
    """Row 19, first half: messages wait on disk while there is no broker, until the host cuts the power."""
    listener = start()
    time.sleep(10)
    run("systemctl", "stop", "mosquitto")
    say(heard=sorted(set(listener.deliveries)))
    while True:  # the host ends it
        time.sleep(0.5)
        say(committed=committed())


def after_power() -> None:
    """Row 19, second half: everything that was on disk arrives."""
    say(waiting=committed())
    run("systemctl", "start", "mosquitto")
    listener = Listener()
    run("systemctl", "start", "edged")
    wait(listener.more(10), timeout_s=START_S, what="messages after the power cut")
    target = committed()
    wait(lambda: target in listener.deliveries, timeout_s=BACK_S, what="the outbox drained")
    run("systemctl", "stop", "edged")
    time.sleep(3)
    found: list[int] = listener.deliveries
    say(
        heard=sorted(set(found)),
        ordered=found == sorted(found),
        quarantined=len(list(OUTBOX.parent.glob("*.damaged*"))),
    )


CAMERA = """
[model]
bundle = "/var/lib/edged/models/active"
[mqtt]
host = "127.0.0.1"
[[camera]]
name = "gate"
source = "/dev/video0"
size = "320x180"
open_timeout_s = 120.0
read_timeout_s = 60.0
"""
VIVID = Path("/sys/bus/platform/drivers/vivid")


def check(keys: str) -> dict[str, Any]:
    """What `edged check --json` says of the camera with more keys."""
    Path("/etc/edged/edged.toml").write_text(CAMERA + keys)
    done = run("/opt/edged/bin/edged", "check", "--json", "--config", "/etc/edged/edged.toml")
    return next(part for part in json.loads(done)["parts"] if part["part"] == "camera gate")


def video() -> None:
    """The kernel's virtual camera: what it offers, formats, what it refuses, unplugged and plugged in again."""
    run("systemctl", "start", "mosquitto")
    run("modprobe", "vivid", "n_devs=1")
    wait(Path("/dev/video0").exists, timeout_s=BACK_S, what="/dev/video0")
    for name, rate in (("nv12", 25), ("yuyv", 5), ("rgb24", 10)):
        told = check(f'pixel_format = "{name}"\nrate = {rate}\n')
        facts = told["facts"]
        if not told["ok"] or facts["size"] != [320, 180] or facts["fps"] != rate or not facts["offers"]:
            say(failed=name, told=told)
            return
        say(decoder=facts["decoder"], fps=facts["fps"], formats=len(facts["offers"]))
    refused = check('pixel_format = "mjpeg"\n')
    if "does not offer mjpeg 320x180" not in refused["detail"] or "nv12" not in refused["detail"]:
        say(failed="mjpeg", told=refused)
        return
    say(refused=refused["detail"][:80])
    Path("/etc/edged/edged.toml").write_text(CAMERA + 'pixel_format = "nv12"\nrate = 10\n')
    listener = start()
    VIVID.joinpath("unbind").write_text("vivid.0")
    words = ("journalctl", "-u", "edged", "--no-pager", "-o", "cat")
    wait(lambda: "the device was unplugged" in run(*words), timeout_s=BACK_S, what="a word of the loss")
    VIVID.joinpath("bind").write_text("vivid.0")
    say(recovered_s=wait(listener.more(5), timeout_s=BACK_S, what="detections after it came back"))


SCENARIOS: dict[str, Callable[[], Any]] = {
    "clock": clock,
    "memory": memory,
    "power": power,
    "after-power": after_power,
    "video": video,
}


def main() -> None:
    """The scenario that the kernel's command line names."""
    words = Path("/proc/cmdline").read_text().split()
    name = next(word.partition("=")[2] for word in words if word.startswith("edged.scenario="))
    try:
        SCENARIOS[name]()
    except Exception as exc:  # noqa: BLE001 - the console is all that the host sees
        say(failed=f"{type(exc).__name__}: {exc}")
    sys.stdout.write("DONE\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
