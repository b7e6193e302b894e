"""Probing cameras that are away: every address of a name counts."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator

import pytest

from edged.capture.child.resolve import resolve
from edged.capture.parent.reachability import EVERY_S, ReachabilityWatch
from tests.brokers import free_port
from tests.capture.support import open_descriptors


class Probed:
    """A watch and the loop that serves it, a second of whose time passes at each turn."""

    def __init__(self, endpoint: str) -> None:
        self.returns = 0
        self.selector = selectors.DefaultSelector()
        self.watch = ReachabilityWatch(endpoint, self.selector, self._note)
        self._now_s = time.monotonic()

    def _note(self) -> None:
        self.returns += 1

    def turn(self) -> None:
        self._now_s += EVERY_S
        self.watch.step(self._now_s)
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
def test_camera_that_is_back_at_any_address_of_its_name_is_noticed(
    others: str, port: int, listener: socket.socket
) -> None:
    probed = Probed(f"{others}127.0.0.1|{port}")
    probed.turn()
    probed.turn()
    assert (probed.watch.unreachable, probed.returns) == (True, 0)
    listener.listen()
    probed.turn()
    assert (probed.watch.unreachable, probed.returns) == (False, 1)
    assert not probed.selector.get_map(), "nobody is asked any more"


def test_camera_that_was_there_all_the_time_is_not_taken_for_back(port: int, listener: socket.socket) -> None:
    listener.listen()
    probed = Probed(f"::1|127.0.0.1|{port}")
    for _ in range(3):
        probed.turn()
    assert not probed.returns and not probed.watch.unreachable
    probed.watch.close()


def test_probes_leave_nothing_behind(port: int) -> None:
    probed = Probed(f"::1|192.0.2.1|127.0.0.1|{port}")
    probed.turn()
    before = open_descriptors()
    for _ in range(20):
        probed.turn()
    assert open_descriptors() == before
    probed.watch.close()
    assert open_descriptors() <= before


def test_every_address_of_a_name_is_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*_: object, **__: object) -> list[tuple[object, ...]]:
        v6 = (socket.AF_INET6, 1, 6, "", ("2001:db8::5", 554, 0, 0))
        v4 = (socket.AF_INET, 1, 6, "", ("192.0.2.5", 554))
        return [v6, v4, v4]

    monkeypatch.setattr("edged.capture.child.resolve.socket.getaddrinfo", answer)
    assert resolve("RTSP://viewer:x@camera.lan/stream") == "2001:db8::5|192.0.2.5|554"


@pytest.mark.parametrize(
    "endpoint", ["", "|", "nonsense", "10.0.0.300|1", "127.0.0.1|", "127.0.0.1|99999999", "a|b|c|1"]
)
def test_endpoints_that_are_none_do_no_harm(endpoint: str) -> None:
    probed = Probed(endpoint)
    probed.turn()
    probed.turn()
    assert not probed.returns
    probed.watch.close()
