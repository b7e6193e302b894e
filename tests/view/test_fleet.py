"""Any number of boxes, heard at a real broker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import publish

from tests.boxes import run_edged
from tests.brokers import Broker, free_port, wait_for
from tests.view.looking import View, walking_box


def boxes(view: View) -> dict[str, dict[str, Any]]:
    return {each["device"]: each for each in view.json("/api/fleet")["boxes"]}


@pytest.mark.parametrize("transport", ["tcp", "websockets"])
def test_boxes_come_work_and_go(broker: Broker, tmp_path: Path, transport: str) -> None:
    if transport == "websockets":
        broker.stop()
        broker.web_port = free_port()
        broker.start()
    config = f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.box_port}\ntransport = "{transport}"'
    with (
        walking_box(tmp_path, broker.port) as box,
        View(tmp_path, None, options=("--fleet",), config=config) as view,
    ):
        wait_for(lambda: boxes(view).get("box", {}).get("stats"), timeout_s=30, what="the box has figures")
        found = boxes(view)["box"]
        assert found["online"]
        assert found["info"]["model"] == "squares"
        wait_for(lambda: boxes(view)["box"]["cameras"]["gate"]["state"] == "online", timeout_s=20, what="the camera is")
        assert view.ask("/readyz")[0] == 200, "a fleet is looked at, no daemon of this machine is needed"
        assert box.stop() == 0
        wait_for(lambda: not boxes(view)["box"]["online"], what="it is offline")


def test_topics_that_do_not_tell_boxes_apart_are_refused(tmp_path: Path) -> None:
    (tmp_path / "view.toml").write_text('[mqtt]\ntopic = "a/{camera}/{kind}"\n')
    done = run_edged("view", "--fleet", "--config", tmp_path / "view.toml", cwd=tmp_path)
    assert done.returncode == 78
    assert "[mqtt] topic: --fleet reads edged's own topics; remove it, and name their prefix" in done.stderr


def test_nonsense_from_the_broker_is_passed_over(broker: Broker, tmp_path: Path) -> None:
    config = f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}'
    with View(tmp_path, None, options=("--fleet",), config=config) as view:
        wait_for(lambda: view.json("/api/fleet")["connected"], what="connected")
        say: Any = {"hostname": "127.0.0.1", "port": broker.port}
        for topic, payload in [
            ("edged/a/info", b"{"),
            ("edged/a/stats", b"[]"),
            ("edged/a/stats", json.dumps({"cameras": {"x": {"dropped": "many"}, "y": 5}, "fps": "fast"}).encode()),
            ("edged/a/stats", json.dumps({"cameras": {"x": {"dropped": {"a": 2**64 - 1, "b": "c"}}}}).encode()),
            ("edged/A B/status", b"online"),
            ("edged/a/gate/health", json.dumps({"state": "<b>online</b>"}).encode()),
            ("edged/b/status", b"online"),
        ]:
            publish.single(topic, payload, retain=True, **say)
        wait_for(lambda: "b" in boxes(view), what="the last was heard")
        assert set(boxes(view)) == {"a", "b"}
        assert boxes(view)["b"]["online"]
        assert boxes(view)["a"]["online"] is None
        broker.kill()
        wait_for(lambda: not view.json("/api/fleet")["connected"], what="the broker is gone")
        broker.start()
        wait_for(lambda: view.json("/api/fleet")["connected"], timeout_s=30, what="and is back")
        assert "Traceback" not in view.log()
