"""Logs keep secrets and do not flood."""

from __future__ import annotations

import logging
import sys

import pytest

from edged.core.secrets import remember
from edged.logs import REPEAT_S, JournalHandler, OncePerMinute


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
        once.filter(record("cause a%d", number))
    assert len(once._seen) <= 1000


def test_credentials_are_taken_out_of_every_line() -> None:
    line = record("cannot open %s", "rtsp://me:secret@10.0.0.9/x")
    OncePerMinute().filter(line)
    assert line.getMessage() == "cannot open rtsp://***@10.0.0.9/x"


def test_a_password_that_is_a_word_leaves_our_own_words_and_numbers() -> None:
    remember(["camera", "frame", "17", "gate", "online"])
    line = record("camera %s: %s: frame %d: %s", "gate", "online", 17, ValueError("nonnumeric port: 'camera@h' of 17"))
    line.CAMERA, line.STATE = "gate", "online"
    OncePerMinute().filter(line)
    assert line.getMessage() == "camera gate: online: frame 17: nonnumeric port: '***@h' of ***"
    foreign = logging.LogRecord("paho", logging.WARNING, __file__, 1, "sent gate", (), None)
    OncePerMinute().filter(foreign)
    assert foreign.getMessage() == "sent ***"


def test_lines_that_differ_in_numbers_only_have_one_cause() -> None:
    once = OncePerMinute()
    passed = [once.filter(record("frame %d of camera cam1 failed after %.1f ms", n, n / 3)) for n in range(100)]
    assert sum(passed) == 1
    assert once.filter(record("frame %d of camera cam2 failed after %.1f ms", 1, 2.0))
    assert once.filter(record("camera %d is offline", 1))
    assert once.filter(record("camera %d is offline", 2))


def test_credentials_are_taken_out_of_tracebacks() -> None:
    try:
        int("rtsp://me:secret@10.0.0.9/x")
    except ValueError:
        line = logging.LogRecord("edged", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    OncePerMinute().filter(line)
    shown = logging.Formatter().format(line)
    assert "ValueError: invalid literal" in shown
    assert "rtsp://***@10.0.0.9/x" in shown
    assert "secret" not in shown


def test_journal_entries_carry_fields_to_select_by() -> None:
    sent: list[tuple[str, dict[str, str]]] = []
    handler = JournalHandler(lambda message, **fields: sent.append((message, fields)))
    line = record("camera gate: offline")
    line.CAMERA, line.ERROR_CODE = "gate", 69
    handler.emit(line)
    message, fields = sent[0]
    assert message == "camera gate: offline"
    assert (fields["CAMERA"], fields["ERROR_CODE"], fields["PRIORITY"]) == ("gate", "69", "4")


def test_journal_that_is_away_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_message: str, **_fields: str) -> None:
        raise OSError("no journal")

    monkeypatch.setattr(logging, "raiseExceptions", False)
    JournalHandler(away).emit(record("anything"))
