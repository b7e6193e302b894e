"""Azure IoT Hub's documented rules, kept by a box with a fixed topic; and what a fixed topic means anywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from edged.core.errors import BrokerError
from edged.core.events import Snapshot
from edged.core.states import CameraState, DeviceInfo
from edged.core.watched import Watched
from edged.publish import schemas
from edged.publish.check import check_broker
from edged.publish.mqtt import MqttPublisher
from edged.publish.options import MqttOptions, TlsOptions
from tests.boxes import Box, run_edged, write_video
from tests.brokers import Broker, Certificates, Subscriber, make_certificates, wait_for
from tests.gates import Gate
from tests.publish.clouds import Cloud, Said, azure, cloud, server_tls
from tests.publish.deliveries import connected
from tests.publish.results import DETECTIONS, ORIGIN, counts, event, options, outbox_options, result, statistics

HUB, DEVICE = "contoso.azure-devices.net", "Edge:1"
USER = f"{HUB}/{DEVICE}/?api-version=2021-04-12"
TOKEN = "SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2FEdge%3A1&sig=vSgHBMUG%3D&se=1456481802"
EVENTS = f"devices/{DEVICE}/messages/events/"
BAG = EVENTS + "$.ct=application%2Fjson&$.ce=utf-8&camera={camera}&kind={kind}"
WATCHED = [Watched("gate", labels=("person",)), Watched("yard")]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def hub(certificates: Certificates) -> Iterator[Cloud]:
    with cloud(azure(hub=HUB, device=DEVICE), context=server_tls(certificates)) as server:
        yield server


def device(server: Cloud, made: Certificates, **changes: Any) -> MqttOptions:
    tls = TlsOptions(made.file("ca.pem"))
    said = {"host": "localhost", "tls": tls, "client_id": DEVICE, "username": USER, "password": TOKEN,
            "protocol": "3.1.1", "retain": False}  # fmt: skip
    return options(server.port, **{**said, **changes})


def say_everything(ours: MqttPublisher) -> None:
    """A message of every kind, pictures and states included."""
    now = datetime.now(timezone.utc)
    ours.info(DeviceInfo("1.0", "model", "cpu", ("gate", "yard"), now))
    ours.camera_state(CameraState("gate", "online", "", now, 0))
    ours.camera_state(CameraState("yard", "online", "", now, 0))
    ours.objects(counts(2))
    ours.snapshot(Snapshot("gate", "person", "event", b"\xff\xd8 picture"))
    ours.event(event())
    ours.publish(result(0))
    ours.statistics(statistics())


def kinds(said: list[Said]) -> dict[str, list[dict[str, Any]]]:
    """Contents by kind; each must be JSON that says what it is, and be as its schema has it."""
    found: dict[str, list[dict[str, Any]]] = {}
    for each in said:
        content = json.loads(each.payload)
        kind, version = content["schema"].removeprefix("edged.").split("/")
        assert version == "1" and content["device"] == "box"
        Draft202012Validator(schemas.load(kind)).validate(content)
        found.setdefault(kind, []).append(content)
    return found


ALL = {"status", "info", "health", "objects", "events", "detections", "stats"}


@pytest.mark.parametrize("topic", [BAG, EVENTS], ids=["property bag", "one topic"])
def test_azure_takes_all_that_a_box_says(hub: Cloud, certificates: Certificates, tmp_path: Path, topic: str) -> None:
    ours = MqttPublisher(
        device(hub, certificates), ORIGIN, topic=topic, outbox=outbox_options(tmp_path), cameras=WATCHED
    )
    connected(ours)
    say_everything(ours)
    wait_for(lambda: set(kinds(hub.noted.messages)) == ALL, what="a message of every kind")
    ours.watch(WATCHED[:1])  # its states are forgotten: nothing is there that could be removed
    wait_for(lambda: not ours.counters().waiting)
    ours.close()
    assert hub.noted.broken == []
    assert hub.connects == 1, "a hub has one connection for a device, and no search for leftovers"
    assert hub.noted.hellos[0].will is not None
    assert json.loads(hub.noted.hellos[0].will.payload)["status"] == "offline"
    assert not any(said.retain for said in [*hub.noted.messages, hub.noted.hellos[0].will])
    found = kinds(hub.noted.messages)
    assert [each["status"] for each in found["status"]] == ["online", "offline"]
    assert {each["camera"] for each in found["health"]} == {"gate", "yard"}
    assert not hub.noted.wills
    if topic == BAG:
        expected = {f"{EVENTS}$.ct=application%2Fjson&$.ce=utf-8&camera={camera}&kind={kind}"
                    for camera, kind in [("", "status"), ("", "info"), ("", "stats"), ("gate", "health"),
                                         ("yard", "health"), ("gate", "objects"), ("gate", "events"),
                                         ("gate", "detections")]}  # fmt: skip
        assert {said.topic for said in hub.noted.messages} == expected


def test_azure_takes_a_whole_box_by_its_configuration(hub: Cloud, certificates: Certificates, tmp_path: Path) -> None:
    (tmp_path / "sas-token").write_text(f"{TOKEN}\n")
    mqtt = {"ca_file": str(certificates.file("ca.pem")), "client_id": DEVICE, "username": USER,
            "password_file": str(tmp_path / "sas-token"), "topic": BAG, "retain": False}  # fmt: skip
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in mqtt.items())
    box = Box(tmp_path, hub.port, cameras={"gate": {"source": str(write_video(tmp_path / "a.avi"))}}, mqtt=lines)
    box.write()
    box.config.write_text(box.config.read_text().replace('host = "127.0.0.1"', 'host = "localhost"'))
    checked = run_edged("check", "--config", box.config)
    assert checked.returncode == 0, checked.stdout
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    command = [sys.executable, "-m", "edged", "run", "--config", str(box.config)]
    with (tmp_path / "edged.log").open("w") as log:
        daemon = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            wait_for(lambda: {"detections", "events", "info"} <= set(kinds(hub.noted.messages)), timeout_s=30)
        finally:
            daemon.terminate()
            assert daemon.wait(10) == 0
    assert hub.noted.broken == []
    assert kinds(hub.noted.messages)["status"][-1]["status"] == "offline"
    assert "vSgHBMUG" not in checked.stdout + checked.stderr + (tmp_path / "edged.log").read_text()


def test_azure_hears_by_the_last_will_that_a_box_is_lost(hub: Cloud, certificates: Certificates) -> None:
    ours = MqttPublisher(device(hub, certificates), ORIGIN, topic=BAG)
    connected(ours)
    connection = ours._network._live
    assert connection is not None
    connection.abort()
    wait_for(lambda: hub.noted.wills, what="the last will")
    assert hub.noted.wills[0].topic.endswith("camera=&kind=status")
    assert kinds(hub.noted.wills)["status"][0]["status"] == "offline"


def test_azure_closes_on_edgeds_own_topics_and_nothing_is_lost(
    hub: Cloud, certificates: Certificates, tmp_path: Path
) -> None:
    """What waited under edged's own topics, as it does before the template is configured, is sent under the hub's."""
    ours = MqttPublisher(device(hub, certificates), ORIGIN, outbox=outbox_options(tmp_path))
    ours.publish(result(0))
    wait_for(lambda: any(said.startswith("no such topic: edged/box/") for said in hub.noted.broken))
    ours.close()
    assert not hub.noted.messages
    ours = MqttPublisher(device(hub, certificates), ORIGIN, topic=BAG, outbox=outbox_options(tmp_path))
    wait_for(lambda: "detections" in kinds(hub.noted.messages), what="what waited")
    ours.close()
    assert kinds(hub.noted.messages)["detections"][0]["delivery"] == 1


def test_azure_is_checked_with_the_devices_own_id(hub: Cloud, certificates: Certificates) -> None:
    check_broker(device(hub, certificates))
    assert [hello.client for hello in hub.noted.hellos] == [DEVICE]
    with pytest.raises(BrokerError, match=r"refuses the credentials of user .*; check \[mqtt\]") as caught:
        check_broker(device(hub, certificates, password="SharedAccessSignature wrong"))
    assert "wrong" not in str(caught.value)
    with pytest.raises(BrokerError):
        check_broker(device(hub, certificates, protocol="5"))
    assert hub.noted.broken[-1] == "MQTT 3.1.1 only"


def test_a_template_keeps_retained_states_apart(broker: Broker) -> None:
    ours = MqttPublisher(options(broker.port), ORIGIN, topic="dt/{device}/{camera}/{kind}", cameras=WATCHED)
    connected(ours)
    say_everything(ours)
    wait_for(lambda: ours.counters().acknowledged >= 5)
    with Subscriber(broker.port) as seen:
        wait_for(lambda: seen.last("dt/box/yard/health"))
        assert {each.topic for each in seen.messages if each.retained} == {
            f"dt/box/{topic}" for topic in ("status", "info", "gate/health", "gate/objects", "yard/health")
        }
        ours.watch(WATCHED[:1])
        wait_for(lambda: seen.payloads("dt/box/yard/health")[-1] == b"", what="removed")
    ours.close()
    assert "leftovers" not in broker.log(), "nothing is looked for below edged's own topics"


def test_without_retained_messages_edgeds_own_topics_stay_as_they_are(broker: Broker, gate: Gate) -> None:
    with Subscriber(broker.port) as seen:
        ours = MqttPublisher(options(gate.port, retain=False), ORIGIN, cameras=WATCHED)
        connected(ours)
        say_everything(ours)
        wait_for(lambda: seen.payloads(DETECTIONS) and seen.last("edged/box/yard/status") == b"online")
        ours.watch(WATCHED[:1])
        gate.close()
        gate.open()
        wait_for(lambda: seen.payloads("edged/box/gate/health")[1:], what="states are said with every connection")
        ours.close()
        assert len(seen.payloads("edged/box/yard/health")) == 1, "of a camera that is gone no more is said"
        assert seen.last("edged/box/gate/snapshot/person")
    assert "leftovers" not in broker.log(), "there are none"
    assert b"" not in [each.payload for each in seen.messages]
    with Subscriber(broker.port) as later:
        assert not [each for each in later.messages if each.retained]
