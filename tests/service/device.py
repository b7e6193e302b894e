"""A booted machine with edged installed: what tests do to it and ask it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

from tests.service.guest import Guest

PROJECT = "/srv/project"
WHEELS = "/srv/wheels"
PASSWORD = "only-the-broker-knows"
CONFIG = "/etc/edged/edged.toml"
CREDENTIAL = "/etc/edged/credentials/mqtt-password"
CAMERA = '[[camera]]\nname = "{name}"\nsource = "/srv/fixtures/street.avi"\n'
SETTINGS = '[device]\nid = "box"\n[mqtt]\nusername = "edged"\n[publish]\nstats_interval_s = 1.0\n'
BROKER = "listener 1883 127.0.0.1\nallow_anonymous false\npassword_file /etc/mosquitto/passwords\n"


class Device:
    """A booted system on which `make install` is run."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest

    def install(self) -> str:
        """`make install`, without network; what it says."""
        return self.guest.run("make", "-C", PROJECT, "install", f"WHEELS={WHEELS}", timeout_s=280).stdout

    def prepare(self) -> None:
        """A broker with a password, the model in the store, one camera."""
        guest = self.guest
        guest.write("/etc/mosquitto/conf.d/test.conf", BROKER)
        guest.run("sh", "-c", "touch /etc/mosquitto/passwords && chown mosquitto /etc/mosquitto/passwords")
        for user in ("edged", "reader"):
            guest.run("mosquitto_passwd", "-b", "/etc/mosquitto/passwords", user, PASSWORD)
        guest.run("systemctl", "start", "mosquitto")
        store = "/var/lib/edged/models"
        guest.run("sh", "-c", f"mkdir -p {store}/.objects && cp -r /srv/fixtures/squares {store}/.objects/ &&"
                  f" ln -sfn .objects/squares {store}/active && chown -R edged:edged {store}")  # fmt: skip
        guest.write(CREDENTIAL, PASSWORD + "\n", mode=0o600)
        self.configure()

    def configure(self, *cameras: str, text: str = "") -> None:
        """Write edged.toml: `text`, or the usual one with these cameras."""
        names = cameras or ("gate",)
        self.guest.write(CONFIG, text or SETTINGS + "".join(CAMERA.format(name=name) for name in names), mode=0o640)
        self.guest.run("chgrp", "edged", CONFIG)

    def start(self, text: str = "") -> None:
        """Start from rest, as after a boot, with this edged.toml or the usual one; returns when it is started."""
        self.guest.run("systemctl", "stop", "edged", check=False)
        self.guest.run("systemctl", "reset-failed", "edged", check=False)
        self.configure(text=text)
        self.guest.run("systemctl", "start", "edged", timeout_s=60)

    def show(self, key: str) -> str:
        """A property of the unit."""
        return self.guest.show("edged", key)

    @property
    def pid(self) -> int:
        """Of the daemon; 0 while it does not run."""
        return int(self.show("MainPID"))

    def wait(self, condition: Callable[[], object], *, timeout_s: float, what: str) -> float:
        """The seconds until `condition` holds."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < timeout_s, f"{what}: not within {timeout_s:g} s\n{self.words()}"
            time.sleep(0.05)
        return time.monotonic() - began

    def subscribe(self, topic: str, *options: str) -> list[str]:
        """The command of an independent client."""
        return ["mosquitto_sub", "-h", "127.0.0.1", "-u", "reader", "-P", PASSWORD, "-t", topic, *options]

    def messages(self, topic: str, count: int) -> list[dict[str, Any]]:
        """The next JSON messages on a topic, as mosquitto_sub prints them."""
        printed = self.guest.run(*self.subscribe(topic, "-C", str(count), "-W", "20")).stdout
        return [json.loads(line) for line in printed.splitlines()]

    def retained(self, topic: str) -> str:
        """What the broker holds on a topic."""
        command = self.subscribe(topic, "-C", "1", "-W", "2", "--retained-only")
        return self.guest.run(*command, check=False).stdout.strip()

    def listen(self, topic: str, *, count: int) -> subprocess.Popen[str]:
        """An independent client that prints when (Unix time) it got what, and ends after `count` or a minute."""
        command = self.subscribe(topic, "-C", str(count), "-W", "60", "-F", "%U %p")
        return subprocess.Popen(self.guest.command(*command), stdout=subprocess.PIPE, text=True)

    def words(self) -> str:
        """What the unit wrote to the journal."""
        entries = [json.loads(line) for line in self.guest.journal("-u", "edged").splitlines()]
        return "\n".join(str(entry.get("MESSAGE")) for entry in entries)

    def now(self) -> str:
        """A moment that `journalctl --since` understands."""
        return self.guest.run("date", "+%F %T").stdout.strip()
