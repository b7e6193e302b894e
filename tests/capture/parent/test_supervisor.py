"""A supervisor that is late says so, and nobody takes cameras that are not known yet for ended ones."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from edged.capture.cameras import Cameras
from edged.capture.parent import supervisor as module
from edged.capture.parent.supervisor import Supervisor
from edged.core.states import CameraState
from tests.capture.support import QUICK, Recorder, pattern, wait_until


def test_cameras_that_are_late_at_the_start_are_not_taken_for_ended(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.1)
    go_on = threading.Event()
    real = Supervisor._turn

    def late(supervisor: Supervisor) -> None:
        go_on.wait(10)
        real(supervisor)

    monkeypatch.setattr(Supervisor, "_turn", late)
    cameras = Cameras([pattern("gate")], on_state=Recorder(), settings=QUICK)
    assert not cameras.ended
    try:
        began = time.monotonic()
        cameras.start()
        assert time.monotonic() - began < 5
        assert not cameras.ended, "a pipeline would end with 0 frames and exit code 0"
        assert "not taken over within 0.1 s" in caplog.text
        go_on.set()
        wait_until(lambda: "gate" in cameras.states())
        assert cameras.take(1, timeout_s=10)
    finally:
        go_on.set()
        cameras.close()


def test_cameras_wanted_while_the_supervisor_is_busy_are_taken_over_later_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    busy, go_on = threading.Event(), threading.Event()

    def listener(state: CameraState) -> None:
        if state.state == "online":
            busy.set()
            go_on.wait(10)

    cameras = Cameras([pattern("gate")], on_state=listener, settings=QUICK)
    try:
        cameras.start()
        assert busy.wait(10)
        monkeypatch.setattr(module, "ANSWER_S", 0.1)
        with caplog.at_level(logging.WARNING):
            cameras.replace([])
            cameras.replace([pattern("yard")])
        assert caplog.text.count("not taken over") == 2
        assert set(cameras.states()) == {"gate"} and not cameras.ended
        go_on.set()
        wait_until(lambda: set(cameras.states()) == {"yard"})
        assert not cameras._supervisor.pending
    finally:
        go_on.set()
        cameras.close()
