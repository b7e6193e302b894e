"""A real Home Assistant that knows a camera from an earlier release of edged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.boxes import Box, write_video
from tests.brokers import Broker, Subscriber, free_port, wait_for
from tests.home_assistant.house import House
from tests.publish.deliveries import retain

pytestmark = pytest.mark.timeout(600)


def earlier(leaf: str, component: str, **more: object) -> tuple[str, bytes]:
    """A message as edged sent it before it announced devices."""
    content = {
        "name": f"gate {leaf}",
        "unique_id": f"edged_box_gate_{leaf}",
        "device": {"identifiers": ["edged_box"], "name": "edged box", "manufacturer": "edged"},
        "origin": {"name": "edged"},
        **more,
    }
    return f"homeassistant/{component}/edged_box/gate_{leaf}/config", json.dumps(content).encode()


EARLIER = dict(
    (
        earlier(
            "connection",
            "binary_sensor",
            device_class="connectivity",
            state_topic="edged/box/gate/status",
            payload_on="online",
            payload_off="offline",
        ),
        earlier("objects", "sensor", state_topic="edged/box/gate/objects", value_template="{{ 5 }}"),
    )
)


def test_entities_of_an_earlier_release_stay_what_they_were_called(tmp_path: Path) -> None:
    broker = Broker(tmp_path, free_port()).start()
    video = write_video(tmp_path / "squares.avi", frames=20)
    box = Box(
        tmp_path,
        broker.port,
        cameras={"gate": {"source": str(video), "frozen_after_s": 0}},
        extra="[publish]\nhome_assistant = true",
    )
    try:
        retain(broker.port, EARLIER)
        with House(tmp_path / "house", free_port(), broker.port) as house:
            house.shows("sensor.edged_box_gate_objects", "unknown")
            house.rename("sensor.edged_box_gate_objects", new="sensor.what_the_gate_sees")
            with box, Subscriber(broker.port) as seen:
                house.shows("sensor.what_the_gate_sees", "2", timeout_s=40)
                house.shows("binary_sensor.edged_box_gate_connection", "on")
                assert not [
                    name for name in house.states() if name in {"sensor.gate_objects", "binary_sensor.gate_connection"}
                ]
                wait_for(lambda: not any(seen.last(topic) for topic in EARLIER), what="the old messages are gone")
                house.stop()
                house.start()
                house.shows("sensor.what_the_gate_sees", "2", timeout_s=40)
                assert not house.complaints()
    finally:
        broker.kill()
