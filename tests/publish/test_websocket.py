"""The WebSocket itself, held against a server that breaks every rule, frame by frame."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import threading
from collections.abc import Iterator

import pytest

from edged.publish.websocket import WebSocket
from tests.brokers import Certificates, make_certificates
from tests.publish.web import server_frame, upgrade
from tests.publish.wire import BINARY, CLOSE, PING, PONG, frames


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


class Opened:
    """Our end of a WebSocket, and the bare socket at its other end."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        self.theirs.settimeout(5)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
        helper = threading.Thread(target=lambda: self.theirs.sendall(upgrade(self.theirs.recv(4096))))
        helper.start()
        self.ours = WebSocket(ours, authority="box:80", path="/mqtt", timeout_s=5)
        helper.join()
        self.ours.setblocking(False)  # noqa: FBT003 - as a socket has it

    def sends(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.theirs.sendall(piece)

    def heard(self, count: int) -> list[tuple[int, bool, bytes]]:
        """So many frames of ours."""
        stream = b""
        while len(found := list(frames(stream))) < count:
            stream += self.theirs.recv(1 << 20)
        return found


@pytest.fixture
def opened() -> Iterator[Opened]:
    both = Opened()
    yield both
    both.ours.close()
    both.theirs.close()


def read_all(ours: WebSocket) -> bytes:
    """All that is there, by twos, so that what is left over must be kept; and `pending` tells of it."""
    read = b""
    with contextlib.suppress(BlockingIOError):
        while True:
            read += ours.recv(2)
            if not ours.pending():
                select.select([ours], [], [], 0)
    return read


@pytest.mark.parametrize("size", [1, 125, 126, 65_535])
def test_frames_of_every_length_are_read(opened: Opened, size: int) -> None:
    content = os.urandom(size)
    helper = threading.Thread(target=opened.sends, args=[server_frame(BINARY, content)])
    helper.start()
    got = b""
    while len(got) < size:
        select.select([opened.ours], [], [], 5)
        got += read_all(opened.ours)
    helper.join()
    assert got == content


def test_a_frame_of_eight_length_bytes_is_read(opened: Opened) -> None:
    opened.sends(b"\x82\x7f" + (3).to_bytes(8, "big") + b"abc")
    assert read_all(opened.ours) == b"abc"


def test_packets_may_lie_across_frames_and_frames_across_arrivals(opened: Opened) -> None:
    stream = server_frame(BINARY, b"ab", last=False) + server_frame(0, b"", last=False) + server_frame(0, b"cd")
    stream += server_frame(PONG, b"unasked") + server_frame(BINARY, b"") + server_frame(BINARY, b"ef")
    got = b""
    for byte in stream:
        opened.sends(bytes([byte]))
        got += read_all(opened.ours)
    assert got == b"abcdef"


def test_pending_tells_of_what_the_socket_no_longer_shows(opened: Opened) -> None:
    opened.sends(server_frame(BINARY, b"abc"))
    assert opened.ours.recv(1) == b"a"
    assert not select.select([opened.ours], [], [], 0)[0]
    assert opened.ours.pending() == 2
    assert opened.ours.recv(9) == b"bc"
    assert opened.ours.pending() == 0


def test_what_is_sent_is_masked_and_whole(opened: Opened) -> None:
    sent = [b"x", os.urandom(125), os.urandom(126), os.urandom(9_000)]
    for each in sent:
        assert opened.ours.send(each) == len(each)
    assert opened.heard(len(sent)) == [(BINARY, True, each) for each in sent]


def test_a_frame_that_the_socket_takes_in_parts_is_sent_once(opened: Opened) -> None:
    large = os.urandom(300_000)
    received = bytearray()
    sent = blocked = 0
    while not sent:
        try:
            sent = opened.ours.send(large)
        except BlockingIOError:
            blocked += 1
            received += opened.theirs.recv(1 << 16)
    assert blocked > 1
    assert sent == len(large)
    opened.ours.send(b"next")
    while len(received) < 300_000 + 14 + 10:
        received += opened.theirs.recv(1 << 16)
    assert list(frames(bytes(received))) == [(BINARY, True, large), (BINARY, True, b"next")]


def test_a_ping_is_answered_masked_and_never_inside_a_frame(opened: Opened) -> None:
    opened.sends(server_frame(PING, b"you there?"))
    assert read_all(opened.ours) == b""
    assert opened.heard(1) == [(PONG, True, b"you there?")]
    large = os.urandom(300_000)
    with pytest.raises(BlockingIOError):
        opened.ours.send(large)
    opened.sends(server_frame(PING, b"and now?"))
    assert read_all(opened.ours) == b""
    got: list[tuple[int, bool, bytes]] = []
    reader = threading.Thread(target=lambda: got.extend(opened.heard(2)))
    reader.start()
    sent = 0
    while not sent:
        with contextlib.suppress(BlockingIOError):
            sent = opened.ours.send(large)
    opened.ours.send(b"next")
    reader.join(5)
    assert got[:2] == [(BINARY, True, large), (BINARY, True, b"next")]


def test_pings_without_end_do_not_fill_the_memory(opened: Opened) -> None:
    with pytest.raises(BlockingIOError):
        opened.ours.send(os.urandom(300_000))
    for _ in range(200):
        opened.sends(server_frame(PING, b"x" * 125) * 20)
        read_all(opened.ours)
    assert len(opened.ours._out) < 310_000


def test_a_close_comes_after_what_was_said_before_it(opened: Opened) -> None:
    opened.sends(server_frame(BINARY, b"ab") + server_frame(CLOSE, b"\x03\xf0too \x1blong") + b"junk")
    assert opened.ours.recv(9) == b"ab"
    assert opened.ours.pending(), "else the loop waits for a byte that never comes"
    with pytest.raises(ConnectionError, match="it closed the WebSocket, code 1008: too long"):
        opened.ours.recv(9)


def test_an_end_without_a_word_is_an_end(opened: Opened) -> None:
    opened.sends(server_frame(BINARY, b"a") + b"\x82\x05")
    opened.theirs.shutdown(socket.SHUT_WR)
    assert opened.ours.recv(9) == b"a"
    assert opened.ours.recv(9) == b""


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(b"\x82\x81abcdx", id="masked"),
        pytest.param(b"\xc2\x01x", id="compressed"),
        pytest.param(b"\x81\x01x", id="text"),
        pytest.param(b"\x83\x01x", id="unknown"),
        pytest.param(b"\x89\x7e\x01\x00" + bytes(256), id="large ping"),
    ],
)
def test_a_frame_that_no_server_may_send_ends_the_connection(opened: Opened, frame: bytes) -> None:
    opened.sends(frame)
    with pytest.raises(ConnectionError, match="a WebSocket"):
        opened.ours.recv(9)


def test_the_sockets_of_tls_are_asked_for_what_they_hold(certificates: Certificates) -> None:
    """One record of TLS may hold more than one read takes: the kernel's socket then shows nothing."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificates.file("server.pem"), certificates.file("server.key"))
    client = ssl.create_default_context(cafile=certificates.file("ca.pem"))
    left, right = socket.socketpair()
    theirs: list[ssl.SSLSocket] = []

    def serve() -> None:
        wrapped = server.wrap_socket(right, server_side=True)
        theirs.append(wrapped)
        wrapped.sendall(upgrade(wrapped.recv(4096)))
        wrapped.sendall(server_frame(BINARY, b"a") * 5)

    helper = threading.Thread(target=serve)
    helper.start()
    ours = WebSocket(
        client.wrap_socket(left, server_hostname="localhost"), authority="localhost", path="/", timeout_s=5
    )
    helper.join()
    ours.setblocking(False)  # noqa: FBT003 - as a socket has it
    got = b""
    while len(got) < 5:
        if not ours.pending():
            select.select([ours], [], [], 5)
        with contextlib.suppress(ssl.SSLWantReadError, BlockingIOError):
            got += ours.recv(1)
    assert got == b"aaaaa"
    with pytest.raises((ssl.SSLWantReadError, BlockingIOError)):
        ours.recv(1)
    ours.close()
    theirs[0].close()
