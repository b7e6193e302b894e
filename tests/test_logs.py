"""Logs keep secrets and do not flood."""

from __future__ import annotations

import logging

from edged.logs import REPEAT_S, OncePerMinute


def record(text: str, *args: object, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord("edged", level, __file__, 1, text, args, None)


def test_the_same_warning_is_written_once_a_minute_with_its_count() -> None:
    now = [0.0]
    once = OncePerMinute(clock=lambda: now[0])
    assert [once.filter(record("camera %s is offline", "gate")) for _ in range(5)] == [True] + [False] * 4
    assert once.filter(record("camera %s is offline", "yard"))
    now[0] = REPEAT_S
    late = record("camera %s is offline", "gate")
    assert once.filter(late)
    assert late.getMessage() == "camera gate is offline (4 times more in the last minute)"


def test_information_is_never_held_back() -> None:
    once = OncePerMinute()
    assert all(once.filter(record("reloaded", level=logging.INFO)) for _ in range(5))


def test_memory_of_warnings_is_bounded() -> None:
    once = OncePerMinute()
    for number in range(5000):
        once.filter(record("cause %d", number))
    assert len(once._seen) <= 1000


def test_credentials_are_taken_out_of_every_line() -> None:
    line = record("cannot open %s", "rtsp://me:secret@10.0.0.9/x")
    OncePerMinute().filter(line)
    assert line.getMessage() == "cannot open rtsp://***@10.0.0.9/x"
