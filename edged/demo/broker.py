"""Starts a broker for the demo on a free loopback port: mosquitto where it is installed, else an embedded one."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from edged.core.errors import BrokerError

LOOPBACK = "127.0.0.1"
START_S = 15.0
CHOICE = "EDGED_DEMO_BROKER"  # set to EMBEDDED to ignore an installed mosquitto
EMBEDDED = "amqtt"
_SBIN = ("/usr/sbin", "/usr/local/sbin")  # where Debian puts mosquitto; not in an ordinary user's PATH


@dataclass(frozen=True, slots=True)
class DemoBroker:
    """A running broker.

    Attributes:
        process: its process, in a session of its own, so that Ctrl-C does not end it before the daemon.
        port: on the loopback.
        name: `mosquitto` or `amqtt`.
    """

    process: subprocess.Popen[bytes]
    port: int
    name: str

    def close(self) -> None:
        """Stop the broker, by force after 5 s."""
        self.process.terminate()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_broker(folder: Path) -> DemoBroker:
    """Start a broker with its files in `folder`, and wait until it accepts connections.

    Raises:
        BrokerError: none is installed, or it does not start.
    """
    port = free_port()
    command, name = _command(folder, port)
    log = folder / "broker.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    broker = DemoBroker(process=process, port=port, name=name)
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((LOOPBACK, port)) == 0:
                return broker
        time.sleep(0.05)
    broker.close()
    raise BrokerError(f"{name} did not start on port {port}: {log.read_text(errors='replace')[-500:]}")


def free_port() -> int:
    """A port on the loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _command(folder: Path, port: int) -> tuple[list[str], str]:
    mosquitto = shutil.which("mosquitto", path=os.pathsep.join((os.environ.get("PATH", ""), *_SBIN)))
    if mosquitto and os.environ.get(CHOICE) != EMBEDDED:
        config = folder / "mosquitto.conf"
        lines = [f"listener {port} {LOOPBACK}", "allow_anonymous true", "persistence false"]
        if os.geteuid() == 0:
            lines.append("user root")  # else it would drop its rights and could not read this private folder
        config.write_text("\n".join(lines) + "\n")
        return [mosquitto, "-c", str(config)], "mosquitto"
    if importlib.util.find_spec("amqtt"):
        return [sys.executable, "-m", "edged.demo.embedded_broker", str(port)], EMBEDDED
    raise BrokerError("no MQTT broker for the demo", remedy="pip install 'edged[demo]', or install mosquitto")
