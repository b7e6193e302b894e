"""A camera that gives one picture for each request, with what real ones do around it."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

from tests.capture.videos import jpeg


class SnapshotServer(http.server.ThreadingHTTPServer):
    """Counts what it is asked; its attributes steer it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.picture = jpeg(1)
        self.kind = "image/jpeg"
        self.tag = ""
        self.password = ""  # of the user joe
        self.digest = False
        self.refusals: list[tuple[int, dict[str, str]]] = []  # answers instead of pictures, the next first
        self.refuses_ours: list[tuple[int, dict[str, str]]] = []  # the same, but FFmpeg gets its picture
        self.endless = False
        self.stream = False  # pictures without an end, and without a word between them
        self.connections = 0
        self.asked_s: list[float] = []  # when, by whom a picture or an answer in its place was given
        self.not_modified = 0

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SnapshotServer

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_GET(self) -> None:
        ours = self.server
        if ours.password and not self._knows_password():
            way = f'Digest realm="cam", qop="auth", nonce="{id(ours):x}"' if ours.digest else 'Basic realm="cam"'
            self._answer(401, {"WWW-Authenticate": way}, b"who are you?")
            return
        ours.asked_s.append(time.monotonic())
        by_us = "python" in self.headers.get("User-Agent", "")
        if ours.refusals:
            self._answer(*ours.refusals.pop(0), b"")
        elif ours.refuses_ours and by_us:
            status, headers = ours.refuses_ours.pop(0)
            self._answer(status, headers, None if status == HTTPStatus.NOT_MODIFIED else b"")
        elif ours.stream:
            self._drip(ours.picture, "video/x-motion-jpeg")
        elif ours.tag and self.headers.get("If-None-Match") == ours.tag:
            ours.not_modified += 1
            self._answer(304, {"ETag": ours.tag}, None)
        elif ours.endless and by_us:
            self._drip(b"x", "image/jpeg")
        else:
            self._answer(200, {"Content-Type": ours.kind} | ({"ETag": ours.tag} if ours.tag else {}), ours.picture)

    def _drip(self, piece: bytes, kind: str) -> None:
        """Send a piece 20 times a second, until nobody listens."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(piece)
                time.sleep(0.05)
        self.close_connection = True

    def _answer(self, status: int, headers: dict[str, str], body: bytes | None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if body is not None:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body or b"")

    def _knows_password(self) -> bool:
        given = self.headers.get("Authorization", "")
        if not self.server.digest:
            return given == "Basic am9lOnPDpGNyZXQ="  # joe:säcret, as UTF-8
        parts = dict(re.findall(r'(\w+)="?([^",]*)"?', given))

        def md5(*words: str) -> str:
            return hashlib.md5(":".join(words).encode(), usedforsecurity=False).hexdigest()

        user, asked = md5("joe", "cam", self.server.password), md5("GET", self.path)
        between = [parts.get(name, "") for name in ("nonce", "nc", "cnonce", "qop")]
        return parts.get("response") == md5(user, *between, asked)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def snapshot_server(*, certificate: Path | None = None) -> Iterator[SnapshotServer]:
    """A running one; with TLS where there is a certificate, whose key lies beside it."""
    server = SnapshotServer()
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
