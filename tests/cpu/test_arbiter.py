"""Who has which cores: the frame that is alone all of them, frames in a row one each."""

from __future__ import annotations

import threading

from edged.cpu.arbiter import CoreArbiter


def test_arbiter_gives_every_core_to_a_frame_that_is_alone() -> None:
    arbiter = CoreArbiter()
    for _ in range(2):
        arbiter.expect(1)
        assert arbiter.take()
        arbiter.back()
        arbiter.done()


def test_arbiter_gives_frames_side_by_side_a_core_each_until_none_is_under_way() -> None:
    arbiter = CoreArbiter()
    arbiter.expect(2)
    assert (arbiter.take(), arbiter.take()) == (False, False)
    arbiter.done()
    arbiter.expect(1)
    arbiter.done()
    assert not arbiter.take()  # the last in a row
    arbiter.done()
    arbiter.expect(1)
    assert arbiter.take()  # after a pause


def test_arbiter_lets_a_frame_wait_for_the_one_that_has_every_core() -> None:
    arbiter = CoreArbiter()
    began = threading.Event()
    order: list[str] = []

    def another() -> None:
        began.set()
        arbiter.take()
        order.append("another")

    arbiter.expect(1)
    assert arbiter.take()
    arbiter.expect(1)
    thread = threading.Thread(target=another)
    thread.start()
    began.wait()
    thread.join(0.05)
    order.append("alone")
    arbiter.back()
    thread.join(5)
    assert order == ["alone", "another"]
