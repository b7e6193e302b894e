"""When and in which order Home Assistant is told, and what is taken away."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edged.core.watched import Watched
from edged.publish.client import MOST_INCOMING_BYTES
from edged.publish.home_assistant.announcer import Announcer
from edged.publish.home_assistant.earlier import MIGRATE, earlier_topics
from edged.publish.home_assistant.messages import box_topic, camera_message, camera_topic
from edged.publish.mailbox import Outgoing
from edged.publish.payload import encode
from tests.brokers import Broker, Subscriber, free_port, wait_for, write_passwords
from tests.publish.announcements import GATE, TOPICS, announced, announcing
from tests.publish.deliveries import retain


def test_cameras_are_announced_where_asked_for_and_taken_away_where_not(broker: Broker) -> None:
    for prefix in ("homeassistant", ""):
        with announcing(broker.port, GATE, prefix=prefix), Subscriber(broker.port) as seen:
            wait_for(lambda: bool(announced(seen)) is bool(prefix), what=f"announced below {prefix!r}")  # noqa: B023
            wait_for(lambda: bool(seen.last(box_topic(TOPICS))) is bool(prefix))  # noqa: B023


def test_entities_that_are_no_more_are_taken_away_one_by_one(broker: Broker) -> None:
    with announcing(broker.port, GATE, Watched("yard")) as ours, Subscriber(broker.port) as seen:
        wait_for(lambda: "line/exit/person/in" in announced(seen).get("components", {}))
        ours.watch([Watched("gate", labels=("person",), zones=GATE.zones)])
        gone = {"platform": "sensor"}
        wait_for(lambda: announced(seen)["components"]["line/exit/person/in"] == gone, what="the line is gone")
        wait_for(lambda: not announced(seen, "yard"), what="the camera is gone")
    with announcing(broker.port, Watched("gate", labels=("person",))), Subscriber(broker.port) as seen:
        wait_for(
            lambda: (
                announced(seen).get("components", {}).get("zone/drive/occupancy/person")
                == {"platform": "binary_sensor"}
            ),
            what="the zone is gone that was configured in the run before",
        )
        assert len(announced(seen)["components"]["occupancy/person"]) > 1


@dataclass
class Said:
    """What an announcer says, in order; a broker that confirms, or does not."""

    confirms: bool = True
    messages: list[tuple[str, bytes]] = field(default_factory=list)

    def retain(self, topic: str, payload: bytes) -> None:
        self.messages.append((topic, payload))

    def send(self, message: Outgoing) -> None:
        self.messages.append((message.topic, message.encode(1000)))
        if self.confirms:
            message.on_answered()

    def announcer(self, *cameras: Watched) -> Announcer:
        return Announcer(TOPICS, prefix="homeassistant", retain=self.retain, send=self.send, cameras=cameras)


def test_a_camera_that_comes_back_with_less_takes_the_rest_away() -> None:
    said = Said()
    announcer = said.announcer(GATE)
    announcer.begin({}, known=True)
    announcer.watch([])
    announcer.watch([Watched("gate", labels=("person",))])
    latest = json.loads(dict(said.messages)[camera_topic(TOPICS, "gate")])
    assert latest["components"]["line/exit/person/in"] == {"platform": "sensor"}


def test_nothing_is_announced_before_the_old_entities_are_known_to_be_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edged.publish.home_assistant.announcer.CONFIRM_S", 0.2)
    said = Said(confirms=False)
    announcer = said.announcer(GATE)
    assert announcer.begin(EARLIER, known=True) is None
    assert {payload for _, payload in said.messages} == {MIGRATE}
    said.confirms = True
    assert announcer.begin(EARLIER, known=True) is not None
    assert [payload for topic, payload in said.messages if topic in EARLIER][-2:] == [b"", b""]


def test_entities_that_are_not_announced_any_more_are_not_moved() -> None:
    said = Said()
    said.announcer(Watched("gate", followed=False)).begin(EARLIER, known=True)
    moved = [topic for topic, payload in said.messages if payload == MIGRATE]
    assert moved == [earlier_topics(TOPICS, "gate", prefix="homeassistant")["connection"]]


def test_the_largest_announcement_can_be_read_again() -> None:
    labels = tuple(f"a long name of a class {number}" for number in range(80))
    zones = {f"a-long-name-of-a-zone-{number}": labels for number in range(12)}
    message = camera_message(TOPICS, Watched("gate", labels=labels, zones=zones, lines={"line": labels}))
    assert len(encode(message)) < MOST_INCOMING_BYTES


EARLIER = {
    topic: {"name": "x", "origin": {"name": "edged"}, "state_topic": f"edged/box/gate/{leaf}"}
    for topic, leaf in zip(
        earlier_topics(TOPICS, "gate", prefix="homeassistant").values(), ("status", "objects"), strict=True
    )
}


def retain_earlier(port: int) -> None:
    """As a release before device discovery did."""
    retain(port, {topic: json.dumps(content).encode() for topic, content in EARLIER.items()})


def test_entities_of_an_earlier_release_are_moved_in_the_order_that_home_assistant_needs(broker: Broker) -> None:
    retain_earlier(broker.port)
    with Subscriber(broker.port) as seen:
        wait_for(lambda: all(seen.last(topic) for topic in EARLIER))
        before = len(seen.messages)
        with announcing(broker.port, GATE):
            wait_for(lambda: not any(seen.last(topic) for topic in EARLIER), what="the old announcements are gone")
        said = [each for each in seen.messages[before:] if each.topic in {*EARLIER, camera_topic(TOPICS, "gate")}]
    kinds = ["new" if each.topic not in EARLIER else "migrate" if each.payload else "removed" for each in said]
    assert kinds == ["migrate", "migrate", "new", "removed", "removed"]
    assert json.loads(said[0].payload) == {"migrate_discovery": True}


def test_where_nothing_of_an_earlier_release_is_found_nothing_is_moved(broker: Broker) -> None:
    with Subscriber(broker.port) as seen, announcing(broker.port, GATE):
        wait_for(lambda: announced(seen))
        time.sleep(0.3)
        assert not [each for each in seen.messages if each.topic in EARLIER]


def test_cameras_are_announced_where_the_broker_forbids_to_read(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text("user reader\ntopic read #\nuser box\ntopic write #\n")
    write_passwords(tmp_path / "passwords", reader="r", box="b")
    lines = ("allow_anonymous false", f"acl_file {rules}", f"password_file {tmp_path / 'passwords'}")
    broker = Broker(tmp_path, free_port(), lines).start()
    try:
        with Subscriber(broker.port, username="reader", password="r") as seen:
            with announcing(broker.port, GATE, username="box", password="b"):
                wait_for(lambda: announced(seen), timeout_s=30, what="the announcement")
            assert {each.topic for each in seen.messages} >= set(EARLIER), "what cannot be seen may be there"
    finally:
        broker.kill()
