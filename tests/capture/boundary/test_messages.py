"""The child's packets: there and back, and anything else refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.capture.boundary.messages import (
    Area,
    Ended,
    Endpoint,
    FrameTally,
    Free,
    Lost,
    MessageError,
    NewFrame,
    Opened,
    Tag,
    Want,
    pack_area,
    pack_ended,
    pack_endpoint,
    pack_frame,
    pack_free,
    pack_lost,
    pack_opened,
    pack_pulse,
    pack_want,
    parse_from_child,
    parse_from_supervisor,
)
from edged.capture.sources.stream import StreamInfo

FRAME = NewFrame(
    area=3,
    slot=2,
    size_wh=(640, 480),
    wall_ns=1_700_000_000_123_456_789,
    mono_ns=99,
    comparable=True,
    same=True,
    tally=FrameTally(1, 2, 3),
)
INFO = StreamInfo(decoder="FFMPEG h264, software", live=True, fps=25.0, may_freeze=True)


def test_wire_there_and_back() -> None:
    assert parse_from_child(pack_frame(FRAME)) == FRAME
    assert parse_from_child(pack_pulse(FrameTally(4, 5, 6))) == FrameTally(4, 5, 6)
    assert parse_from_child(pack_opened(INFO)) == Opened(INFO)
    assert parse_from_child(pack_want((640, 480))) == Want((640, 480))
    assert parse_from_child(pack_lost("gone", auth=True)) == Lost("gone", auth=True)
    assert parse_from_child(pack_endpoint("10.0.0.5|554")) == Endpoint("10.0.0.5|554")
    assert parse_from_child(pack_ended()) == Ended()
    assert parse_from_supervisor(pack_area(Area(1, 4, 4096))) == Area(1, 4, 4096)
    assert parse_from_supervisor(pack_free(1, 2)) == Free(1, 2)


@given(st.binary(max_size=300), st.sampled_from([b"", *(bytes([tag]) for tag in Tag)]))
def test_wire_anything_from_a_child_is_a_message_or_a_wire_error(tail: bytes, head: bytes) -> None:
    with contextlib.suppress(MessageError):
        parse_from_child(head + tail)


@pytest.mark.parametrize("packet", [b"", b"\x00", b"\xff" * 50, pack_frame(FRAME)[:-1], pack_free(1, 2)])
def test_wire_garbage_is_refused(packet: bytes) -> None:
    with pytest.raises(MessageError):
        parse_from_child(packet)


def test_wire_text_from_a_child_is_bounded_and_printable() -> None:
    lost = parse_from_child(pack_lost("x" * 10_000, auth=False))
    assert isinstance(lost, Lost) and len(lost.reason) == 2000
    opened = parse_from_child(pack_opened(StreamInfo(decoder="a\x1b[2J\n" * 100, live=True, fps=1.0, may_freeze=True)))
    assert isinstance(opened, Opened) and opened.info.decoder.isprintable() and len(opened.info.decoder) <= 100


@pytest.mark.parametrize("fps", [float("nan"), -1.0, 1e9])
def test_wire_impossible_rate_is_refused(fps: float) -> None:
    with pytest.raises(MessageError):
        parse_from_child(pack_opened(StreamInfo(decoder="x", live=True, fps=fps, may_freeze=True)))
