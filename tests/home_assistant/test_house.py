"""A real Home Assistant beside a real daemon: what it shows is true, whoever of all three restarts."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.boxes import Box, write_video
from tests.brokers import Broker, free_port, wait_for
from tests.home_assistant.house import House

pytestmark = pytest.mark.timeout(600)

SETTINGS = """
[publish]
home_assistant = true
stats_interval_s = 1.0
[track]
confirm_s = 0.1
lost_s = 1.0
[events]
heartbeat_s = 2.0
"""
ZONE = '[[camera.zone]]\nname = "left"\npoints = [[0, 0], [0.25, 0], [0.25, 1], [0, 1]]\nlabels = ["red"]'
LINE = '[[camera.line]]\nname = "door"\npoints = [[0.5, 0], [0.5, 1]]\nlabels = ["red"]'


@dataclass
class Home:
    """All of it, running."""

    folder: Path
    broker: Broker
    house: House
    box: Box

    @property
    def video(self) -> Path:
        return self.folder / "squares.avi"

    def is_well(self) -> None:
        """Everything shows what the camera sees: a red and a blue square, the red one in the zone."""
        expected = {
            "binary_sensor.edged_box_connection": "on",
            "sensor.edged_box_model": "squares",
            "binary_sensor.gate_connection": "on",
            "sensor.gate_objects": "2",
            "binary_sensor.gate_red_occupancy": "on",
            "binary_sensor.gate_green_occupancy": "off",
            "sensor.gate_red_count": "1",
            "sensor.gate_green_count": "0",
            "sensor.gate_left_red_count": "1",
            "binary_sensor.gate_left_red_occupancy": "on",
            "sensor.gate_door_red_in": "0",
        }
        for entity, state in expected.items():
            self.house.shows(entity, state, timeout_s=40)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("home")
    broker = Broker(folder, free_port(), ("allow_anonymous true", "persistence true")).start()
    house = House(folder / "house", free_port(), broker.port)
    video = write_video(folder / "squares.avi", frames=20)
    box = Box(
        folder,
        broker.port,
        cameras={"gate": {"source": str(video), "frozen_after_s": 0}},
        extra=SETTINGS,
        areas=f"{ZONE}\n{LINE}",
    )
    try:
        with house, box:
            yield Home(folder, broker, house, box)
    finally:
        broker.kill()


def test_everything_is_there_and_right(home: Home) -> None:
    home.is_well()
    house = home.house
    wait_for(lambda: house.state("event.gate_events") not in {"", "unknown"}, what="an event")
    event = house.states()["event.gate_events"]["attributes"]
    assert event["event_type"] in {"start", "update"}
    assert event["label"] in {"red", "blue"}
    assert len(event["event"]) == 26
    wait_for(lambda: house.picture("image.gate_red")[:2] == b"\xff\xd8", what="a JPEG of the red square")
    wait_for(lambda: house.state("sensor.edged_box_frames_per_second") not in {"", "unknown"}, what="a rate")
    assert float(house.state("sensor.edged_box_frames_per_second")) > 0
    assert not house.complaints()


def test_a_lost_camera_is_unavailable_and_never_empty(home: Home) -> None:
    home.is_well()
    away = home.video.rename(home.folder / "away.avi")
    seen = []
    try:
        home.house.shows("binary_sensor.gate_connection", "off")
        home.house.shows("binary_sensor.gate_red_occupancy", "unavailable")
        seen = [home.house.state(f"sensor.gate_{name}") for name in ("objects", "red_count", "left_red_count")]
        home.house.shows("binary_sensor.edged_box_connection", "on")
    finally:
        away.rename(home.video)
    assert seen == ["unavailable"] * 3
    home.is_well()


def test_a_broker_that_restarts_changes_nothing(home: Home) -> None:
    home.is_well()
    home.broker.stop()
    home.house.shows("sensor.gate_objects", "unavailable")
    home.broker.start()
    home.is_well()


def test_a_broker_that_forgets_everything_is_told_again(home: Home) -> None:
    home.is_well()
    home.broker.kill()
    for file in home.folder.glob("mosquitto.db*"):
        file.unlink()
    home.broker.start()
    home.is_well()
    home.house.stop()
    home.house.start()
    home.is_well()


def test_home_assistant_that_restarts_shows_the_same(home: Home) -> None:
    home.is_well()
    home.house.stop()
    home.house.start()
    home.is_well()
    wait_for(lambda: home.house.picture("image.gate_red")[:2] == b"\xff\xd8", what="the retained picture")


def test_a_killed_daemon_is_unavailable_until_it_is_back(home: Home) -> None:
    home.is_well()
    home.box.signal(signal.SIGKILL)
    home.box.wait()
    home.house.shows("binary_sensor.edged_box_connection", "off")
    home.house.shows("binary_sensor.gate_connection", "unavailable")
    home.house.shows("sensor.gate_objects", "unavailable")
    home.box.start()
    home.is_well()


def test_what_is_no_longer_configured_goes_and_nothing_else(home: Home) -> None:
    home.is_well()
    home.box.areas = LINE
    home.box.cameras["yard"] = home.box.cameras["gate"]
    home.box.write()
    try:
        home.box.signal(signal.SIGHUP)
        home.house.shows("sensor.yard_objects", "2", timeout_s=40)
        home.house.shows("sensor.gate_left_red_count", "")
        home.house.shows("sensor.gate_red_count", "1")
    finally:
        home.box.areas = f"{ZONE}\n{LINE}"
        del home.box.cameras["yard"]
        home.box.write()
        home.box.signal(signal.SIGHUP)
    home.house.shows("sensor.yard_objects", "")
    home.is_well()
    home.box.stop()
    home.box.areas = LINE
    home.box.start()
    home.house.shows("sensor.gate_left_red_count", "")
    home.box.stop()
    home.box.areas = f"{ZONE}\n{LINE}"
    home.box.start()
    home.is_well()
