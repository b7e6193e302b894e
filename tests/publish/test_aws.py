"""AWS IoT Core's documented rules, kept by a box with its usual topics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from edged.core.errors import BrokerError
from edged.core.events import Snapshot
from edged.core.states import CameraState
from edged.core.watched import Watched
from edged.publish.check import check_broker
from edged.publish.mqtt import MqttPublisher
from edged.publish.options import MqttOptions, TlsOptions
from tests.brokers import Certificates, make_certificates, wait_for
from tests.publish.clouds import ALPN, Cloud, aws, cloud, server_tls
from tests.publish.deliveries import connected
from tests.publish.results import BASE, DETECTIONS, ORIGIN, options, outbox_options, result


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def iot_core(certificates: Certificates) -> Iterator[Cloud]:
    context = server_tls(certificates, client_certificate=True, alpn=ALPN)
    with cloud(aws(clients=("edged-box", "edged-box-leftovers")), context=context, alpn=ALPN) as server:
        yield server


def thing(server: Cloud, made: Certificates, *, alpn: tuple[str, ...] = (ALPN,), **changes: Any) -> MqttOptions:
    tls = TlsOptions(made.file("ca.pem"), made.file("client.pem"), made.file("client.key"), alpn=alpn)
    return options(server.port, **{"host": "localhost", "tls": tls, "client_id": "edged-box", **changes})


def sequences(server: Cloud) -> list[int]:
    return [json.loads(said.payload)["sequence"] for said in server.noted.messages if said.topic == DETECTIONS]


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_aws_takes_all_that_a_box_says(
    iot_core: Cloud, certificates: Certificates, tmp_path: Path, protocol: str
) -> None:
    watched = [Watched("gate", labels=("person",))]
    ours = MqttPublisher(
        thing(iot_core, certificates, protocol=protocol), ORIGIN, outbox=outbox_options(tmp_path), cameras=watched,
        discovery_prefix="homeassistant",
    )  # fmt: skip
    connected(ours)
    ours.camera_state(CameraState("gate", "online", "", datetime.now(timezone.utc), 0))
    for sequence in range(30):
        ours.publish(result(sequence))
    wait_for(lambda: sequences(iot_core) == list(range(30)), what="every message, in order")
    wait_for(lambda: len(iot_core.noted.hellos) == 2 and not ours._search.running, what="the search for leftovers")
    ours.close()
    assert iot_core.noted.broken == []
    assert iot_core.noted.alpn == [ALPN, ALPN]
    assert ours.counters().connects == 1
    topics = {said.topic: said for said in iot_core.noted.messages}
    assert topics[f"{BASE}/status"].payload == b"offline" and topics[f"{BASE}/status"].retain
    assert topics[f"{BASE}/gate/health"].retain


@pytest.mark.parametrize("alpn", [(), ("mqtt",)])
def test_aws_without_its_protocol_hangs_up_and_the_message_names_alpn(
    iot_core: Cloud, certificates: Certificates, alpn: tuple[str, ...]
) -> None:
    with pytest.raises(BrokerError, match=r"closed the connection.*\[mqtt\] alpn"):
        check_broker(thing(iot_core, certificates, alpn=alpn))
    assert set(iot_core.noted.alpn) == {None}
    check_broker(thing(iot_core, certificates, alpn=("mqtt", ALPN)))


def test_aws_that_knows_one_client_id_is_checked_with_that(iot_core: Cloud, certificates: Certificates) -> None:
    check_broker(thing(iot_core, certificates))
    assert iot_core.noted.broken == ["the policy allows no such client id"], "another was tried first"
    assert [hello.client for hello in iot_core.noted.hellos] == ["edged-box"]
    with pytest.raises(BrokerError, match="client id"):
        check_broker(thing(iot_core, certificates, client_id=""))


def test_aws_hangs_up_on_a_picture_that_is_too_large_and_gets_the_rest(
    iot_core: Cloud, certificates: Certificates, tmp_path: Path
) -> None:
    ours = MqttPublisher(thing(iot_core, certificates, refused_retry_s=0.3), ORIGIN, outbox=outbox_options(tmp_path))
    connected(ours)
    ours.snapshot(Snapshot("gate", "person", "event", bytes(150_000)))
    ours.publish(result(0))
    wait_for(lambda: 0 in sequences(iot_core), what="the message behind it")
    wait_for(lambda: ours.counters().dropped.get("too_large") == 1, what="the picture is given up")
    ours.publish(result(1))
    wait_for(lambda: 1 in sequences(iot_core))
    ours.close()
    assert set(iot_core.noted.broken) == {"payload of 150000 bytes"}
