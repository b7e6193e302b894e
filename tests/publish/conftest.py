"""A broker of the test's own, and results to publish."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edged.publish.mqtt import MqttPublisher
from tests.brokers import Broker, free_port
from tests.gates import Gate


@pytest.fixture(params=["tcp", "websockets"])
def transport(broker: Broker, request: pytest.FixtureRequest) -> str:
    """What the publisher speaks over; `broker.box_port` is where it finds it."""
    if request.param == "websockets":
        broker.stop()
        broker.web_port = free_port()
        broker.start()
    return str(request.param)


@pytest.fixture
def gate(broker: Broker, request: pytest.FixtureRequest) -> Iterator[Gate]:
    """The way of the publisher to the broker; the subscriber goes directly."""
    if "transport" in request.fixturenames:
        request.getfixturevalue("transport")
    with Gate(broker.box_port) as gate:
        yield gate


@pytest.fixture(autouse=True)
def no_descriptor_left() -> Iterator[None]:
    """Every test closes what it opened; a leaked descriptor would end a daemon that runs for years."""
    before = _descriptors()
    yield
    if _descriptors() - before:
        gc.collect()  # takes half a second beside torch: only where there is something to find
    left = _descriptors() - before
    assert not left, f"{sorted(left)}; threads: {[each.name for each in threading.enumerate()]}"


def _descriptors() -> set[tuple[str, str]]:
    """What this process has open: number, and what it is; the kernel gives every socket and pipe a name of its own."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of the folder itself
            found.add((entry.name, str(entry.readlink())))
    return found


@pytest.fixture(autouse=True)
def publishers_closed(monkeypatch: pytest.MonkeyPatch, no_descriptor_left: None) -> Iterator[None]:  # noqa: ARG001 - its check comes after
    """Every publisher is closed, also where its test failed: its threads would be heard in the tests that follow."""
    made: list[MqttPublisher] = []
    real = MqttPublisher.__init__

    def noted(self: MqttPublisher, *arguments: Any, **options: Any) -> None:
        real(self, *arguments, **options)
        made.append(self)

    monkeypatch.setattr(MqttPublisher, "__init__", noted)
    yield
    for each in made:
        each.close()
