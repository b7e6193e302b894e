"""Metrics as a real Prometheus reads them: every panel of the dashboard has data, every alert fires when it should."""

from __future__ import annotations

import json
import math
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit
from urllib.request import urlopen

import pytest
import yaml

from edged.view.meters import Histogram
from tests.boxes import Box, write_video
from tests.brokers import Broker, free_port, wait_for
from tests.view.looking import ZONE, View, socket_of, walking_box

ETC = Path(__file__).parents[2] / "etc"
LINE = '\n[[camera.line]]\nname = "middle"\npoints = [[0.5, 0], [0.5, 1]]'
# What the rules wait for in real life takes minutes.
HASTE = [(r"for: \d+m", "for: 1s"), (r"\[\d+m\]", "[8s]"), (r"oldest_seconds > 300", "oldest_seconds > 2")]


def test_a_histogram_counts_as_prometheus_does() -> None:
    measured = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 2.0):
        measured.add(value)
    assert measured.buckets == [("0.1", 2), ("1.0", 3), ("+Inf", 4)]
    assert measured.total == pytest.approx(2.65)


@dataclass
class Prometheus:
    port: int

    def ask(self, path: str, **query: str) -> Any:
        with urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}?{urlencode(query)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def values(self, query: str) -> list[Any]:
        found: list[Any] = self.ask("query", query=query)["result"]
        return found

    def firing(self) -> set[str]:
        return {each["labels"]["alertname"] for each in self.ask("alerts")["alerts"] if each["state"] == "firing"}


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed (apt-get install prometheus)")
    rules = (ETC / "prometheus" / "alerts.yml").read_text()
    for pattern, sooner in HASTE:
        rules, count = re.subn(pattern, sooner, rules)
        assert count
    (folder / "alerts.yml").write_text(rules)
    scrape = {"job_name": "edged", "static_configs": [{"targets": [target]}]}
    quick = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config = {"global": quick, "rule_files": ["alerts.yml"], "scrape_configs": [scrape]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    server = Prometheus(free_port())
    command = [program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{server.port}"], stdout=log, stderr=log, cwd=folder
        )
    try:
        wait_for(lambda: _answers(server), timeout_s=30, what="Prometheus")
        yield server
    finally:
        process.terminate()
        process.wait()


def _answers(server: Prometheus) -> bool:
    try:
        return bool(server.ask("status/buildinfo"))
    except OSError:
        return False


def test_the_files_are_what_their_programs_take(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("prometheus is not installed (apt-get install prometheus)")
    for name in ("alerts.yml", "prometheus.yml"):
        shutil.copy(ETC / "prometheus" / name, tmp_path)
    checks = (("rules", "alerts.yml"), ("config", "--syntax-only", "prometheus.yml"))
    for check in checks:
        done = subprocess.run(["promtool", "check", *check], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_every_panel_has_data_and_every_alert_fires(broker: Broker, tmp_path: Path) -> None:
    dashboard = json.loads((ETC / "grafana" / "edged.json").read_text())
    panels = {panel["title"]: [target["expr"] for target in panel["targets"]] for panel in dashboard["panels"]}
    alerts = {
        rule["alert"]
        for group in yaml.safe_load((ETC / "prometheus" / "alerts.yml").read_text())["groups"]
        for rule in group["rules"]
    }
    with (
        walking_box(tmp_path, broker.port, areas=ZONE + LINE, mqtt='protocol = "5"') as box,
        View(tmp_path, socket_of(box)) as view,
        prometheus(tmp_path, urlsplit(view.url).netloc) as server,
    ):
        _lint(view)
        wait_for(lambda: view.now()["open"], timeout_s=30, what="an event goes on")
        for title, queries in panels.items():
            for query in queries:
                asked = query.replace("$__rate_interval", "8s").replace("$instance", ".*").replace("$camera", ".*")
                wait_for(partial(_has_data, server, asked), timeout_s=30, what=f"{title}: {asked}")
        wait_for(lambda: not server.firing(), timeout_s=30, what="nothing is broken yet")
        fired = _break_everything(box, view, broker, server)
        assert fired == alerts


def _has_data(server: Prometheus, query: str) -> bool:
    return any(math.isfinite(float(each["value"][1])) for each in server.values(query))


def _lint(view: View) -> None:
    """Names and types as Prometheus wants them."""
    _, headers, text = view.ask("/metrics")
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def _break_everything(box: Box, view: View, broker: Broker, server: Prometheus) -> set[str]:
    """Break one thing after the other; returns what fired for it."""
    fired: set[str] = set()

    def fires(name: str) -> None:
        wait_for(lambda: name in server.firing(), timeout_s=40, what=f"{name} fires; firing: {server.firing()}")
        fired.add(name)

    box.cameras["dead"] = {"source": "rtsp://127.0.0.1:9/nobody"}
    still = str(write_video(box.folder / "still.avi", colours=("red",)))
    box.cameras["still"] = {"source": still, "frozen_after_s": 1.0}
    for number in range(4):
        box.cameras[f"busy{number}"] = {"source": "test:?size=1920x1080&fps=60"}
    box.write()
    box.signal(signal.SIGHUP)
    fires("EdgedCameraDown")
    fires("EdgedCameraFrozen")
    fires("EdgedFramesGiveWay")
    for number in range(4):
        del box.cameras[f"busy{number}"]
    box.areas = ""
    box.write()
    box.signal(signal.SIGHUP)

    snapshots = box.folder / "state" / "edged" / box.device / "snapshots"
    wait_for(snapshots.is_dir, what="snapshots are stored")
    shutil.rmtree(snapshots)
    snapshots.write_text("in the way")
    box.cameras["second"] = box.cameras["gate"]  # its objects are new, and want a picture
    box.write()
    box.signal(signal.SIGHUP)
    fires("EdgedSnapshotsLost")

    broker.kill()
    fires("EdgedBrokerLost")
    box.cameras["third"] = box.cameras["gate"]  # there is news again
    box.write()
    box.signal(signal.SIGHUP)
    fires("EdgedMessagesWait")
    broker.settings = (*broker.settings, "max_packet_size 500")  # no event fits
    broker.start()
    fires("EdgedMessagesLost")
    box.signal(signal.SIGSTOP)
    fires("EdgedLooksAtNothing")
    box.signal(signal.SIGKILL)
    fires("EdgedNotRunning")
    assert view.ask("/healthz")[0] == 200
    assert b"edged_camera_up{" not in view.ask("/metrics")[2], "of what is not known nothing is said"
    assert view.stop() == 0
    fires("EdgedPageDown")
    return fired
