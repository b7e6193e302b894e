"""Knocking at cameras that are away: every address of a name counts."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator

import pytest

from edged.capture.doorbell import EVERY_S, Doorbell, resolve
from tests.brokers import free_port
from tests.capture.support import open_descriptors


class Watch:
    """A doorbell and the loop that serves it, a second of whose time passes at each turn."""

    def __init__(self, place: str) -> None:
        self.rings = 0
        self.selector = selectors.DefaultSelector()
        self.bell = Doorbell(place, self.selector, self._ring)
        self._now_s = time.monotonic()

    def _ring(self) -> None:
        self.rings += 1

    def turn(self) -> None:
        self._now_s += EVERY_S
        self.bell.step(self._now_s)
        for _ in range(3):
            for key, _ in self.selector.select(0.05) if self.selector.get_map() else []:
                key.data()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def listener(port: int) -> Iterator[socket.socket]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", port))
        yield sock


@pytest.mark.parametrize(
    "others",
    [
        pytest.param("", id="alone"),
        pytest.param("::1|", id="refuses"),
        pytest.param("192.0.2.1|", id="never-answers"),
        pytest.param("2001:db8::1|192.0.2.1|127.0.0.3|", id="several"),
    ],
)
def test_camera_that_is_back_at_any_address_of_its_name_rings(others: str, port: int, listener: socket.socket) -> None:
    watch = Watch(f"{others}127.0.0.1|{port}")
    watch.turn()
    watch.turn()
    assert (watch.bell.shut, watch.rings) == (True, 0)
    listener.listen()
    watch.turn()
    assert (watch.bell.shut, watch.rings) == (False, 1)
    assert not watch.selector.get_map(), "nobody is asked any more"


def test_camera_that_was_there_all_the_time_does_not_ring(port: int, listener: socket.socket) -> None:
    listener.listen()
    watch = Watch(f"::1|127.0.0.1|{port}")
    for _ in range(3):
        watch.turn()
    assert not watch.rings and not watch.bell.shut
    watch.bell.close()


def test_knocks_leave_nothing_behind(port: int) -> None:
    watch = Watch(f"::1|192.0.2.1|127.0.0.1|{port}")
    watch.turn()
    before = open_descriptors()
    for _ in range(20):
        watch.turn()
    assert open_descriptors() == before
    watch.bell.close()
    assert open_descriptors() <= before


def test_every_address_of_a_name_is_knocked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*_: object, **__: object) -> list[tuple[object, ...]]:
        v6 = (socket.AF_INET6, 1, 6, "", ("2001:db8::5", 554, 0, 0))
        v4 = (socket.AF_INET, 1, 6, "", ("192.0.2.5", 554))
        return [v6, v4, v4]

    monkeypatch.setattr("edged.capture.doorbell.socket.getaddrinfo", answer)
    assert resolve("RTSP://viewer:x@camera.lan/stream") == "2001:db8::5|192.0.2.5|554"


@pytest.mark.parametrize("place", ["", "|", "nonsense", "10.0.0.300|1", "127.0.0.1|", "127.0.0.1|99999999", "a|b|c|1"])
def test_places_that_are_none_do_no_harm(place: str) -> None:
    watch = Watch(place)
    watch.turn()
    watch.turn()
    assert not watch.rings
    watch.bell.close()
