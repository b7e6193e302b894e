from __future__ import annotations

import pytest

from edged.view.guard import MOST_SESSIONS, MOST_WRONG, SESSION_S, WINDOW_S, Guard

TOKEN = "0123456789abcdef-token"


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost:8710", True),
        ("LOCALHOST", True),
        ("127.0.0.1:8710", True),
        ("192.168.1.20", True),
        ("[::1]:8710", True),
        ("box.lan:8710", True),
        ("evil.example", False),
        ("box.lan.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
        ("[evil", False),
    ],
)
def test_only_known_names_and_addresses_are_hosts(host: str, known: bool) -> None:  # noqa: FBT001
    assert Guard(token="", hosts=("box.lan",)).knows_host(host) is known


@pytest.mark.parametrize(
    ("origin", "host", "own"),
    [
        ("http://localhost:8710", "localhost:8710", True),
        ("https://box.lan", "box.lan", True),
        ("http://localhost:8711", "localhost:8710", False),
        ("http://evil.example", "localhost:8710", False),
        ("null", "localhost:8710", False),
        ("http://[", "localhost:8710", False),
        ("", "", False),
    ],
)
def test_only_the_page_itself_is_its_origin(origin: str, host: str, own: bool) -> None:  # noqa: FBT001
    assert Guard(token="", hosts=()).is_own_origin(origin, host) is own


def test_wrong_tokens_of_one_address_block_it_for_a_while_and_nobody_else() -> None:
    clock = Clock()
    guard = Guard(token=TOKEN, hosts=(), clock=clock)
    for number in range(MOST_WRONG):
        assert not guard.is_blocked("10.0.0.1"), number
        assert not guard.accepts("wrong", "10.0.0.1")
    assert guard.is_blocked("10.0.0.1")
    assert not guard.is_blocked("10.0.0.2")
    clock.now_s += WINDOW_S + 1
    assert not guard.is_blocked("10.0.0.1")


def test_the_right_token_is_never_counted() -> None:
    guard = Guard(token=TOKEN, hosts=(), clock=Clock())
    assert all(guard.accepts(TOKEN, "10.0.0.1") for _ in range(10 * MOST_WRONG))
    assert not guard.is_blocked("10.0.0.1")


@pytest.mark.parametrize("token", ["", "\ud800", TOKEN[:-1], TOKEN + "x", TOKEN.upper()])
def test_what_is_not_the_token_is_not_accepted(token: str) -> None:
    assert not Guard(token=TOKEN, hosts=()).accepts(token, "10.0.0.1")


def test_no_token_accepts_nothing() -> None:
    assert not Guard(token="", hosts=()).accepts("", "10.0.0.1")


def test_sessions_end_by_time_by_hand_and_are_bounded() -> None:
    clock = Clock()
    guard = Guard(token=TOKEN, hosts=(), clock=clock)
    first = guard.new_session()
    assert guard.has_session(first)
    assert not guard.has_session("")
    guard.end_session(first)
    assert not guard.has_session(first)
    second = guard.new_session()
    clock.now_s += SESSION_S + 1
    assert not guard.has_session(second)
    third = guard.new_session()
    others = {guard.new_session() for _ in range(MOST_SESSIONS)}
    assert len(others) == MOST_SESSIONS
    assert not guard.has_session(third), "the oldest gave way"
