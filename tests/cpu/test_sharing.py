"""Who has which cores: the frame that is alone all of them, frames in a row one each."""

from __future__ import annotations

import threading

from edged.cpu.sharing import Sharing


def test_sharing_gives_every_core_to_a_frame_that_is_alone() -> None:
    sharing = Sharing()
    for _ in range(2):
        sharing.expect(1)
        assert sharing.take()
        sharing.back()
        sharing.done()


def test_sharing_gives_frames_side_by_side_a_core_each_until_none_is_under_way() -> None:
    sharing = Sharing()
    sharing.expect(2)
    assert (sharing.take(), sharing.take()) == (False, False)
    sharing.done()
    sharing.expect(1)
    sharing.done()
    assert not sharing.take()  # the last in a row
    sharing.done()
    sharing.expect(1)
    assert sharing.take()  # after a pause


def test_sharing_lets_a_frame_wait_for_the_one_that_has_every_core() -> None:
    sharing = Sharing()
    began = threading.Event()
    order: list[str] = []

    def another() -> None:
        began.set()
        sharing.take()
        order.append("another")

    sharing.expect(1)
    assert sharing.take()
    sharing.expect(1)
    thread = threading.Thread(target=another)
    thread.start()
    began.wait()
    thread.join(0.05)
    order.append("alone")
    sharing.back()
    thread.join(5)
    assert order == ["alone", "another"]
