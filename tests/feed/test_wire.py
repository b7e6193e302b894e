from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.core.errors import DataError
from edged.feed.wire import MOST_BYTES, MOST_JSON, Unpacker, packed


@given(
    messages=st.lists(st.tuples(st.text(), st.binary(max_size=50)), max_size=5),
    cuts=st.lists(st.integers(1, 40), min_size=1),
)
def test_messages_come_out_as_they_went_in_however_the_stream_is_cut(
    messages: list[tuple[str, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(packed({"kind": "x", "text": text}, content) for text, content in messages)
    unpacker, found, place, turn = Unpacker(), [], 0, 0
    while place < len(stream):
        size = cuts[turn % len(cuts)]
        found += list(unpacker.feed(stream[place : place + size]))
        place, turn = place + size, turn + 1
    assert [(message["text"], content) for message, content in found] == messages


@pytest.mark.parametrize(
    ("received", "problem"),
    [
        pytest.param(struct.pack(">II", MOST_JSON + 1, 0), "too large", id="large JSON"),
        pytest.param(struct.pack(">II", 2, MOST_BYTES + 1), "too large", id="large content"),
        pytest.param(struct.pack(">II", 2, 0) + b"{x", "not JSON", id="no JSON"),
        pytest.param(struct.pack(">II", 2, 0) + b"[]", "a JSON object with a kind", id="no object"),
        pytest.param(struct.pack(">II", 2, 0) + b"{}", "a JSON object with a kind", id="no kind"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", "too large", id="another protocol"),
    ],
)
def test_what_is_not_the_protocol_is_refused(received: bytes, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        list(Unpacker().feed(received))
