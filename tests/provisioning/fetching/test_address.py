"""Credentials in the address of weights reach the server that they are for, and nobody else."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edged.core.errors import EdgedError
from provisioning.fetching.fetch import fetch, origin, resolve

CONTENT = bytes(range(256))


@dataclass
class Server:
    """Gives the file to who knows the password, and below /moved the address of another server."""

    port: int = 0
    elsewhere: str = ""
    heard: list[str] = field(default_factory=list)


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, Server]]:
    monkeypatch.setattr("provisioning.fetching.download.time.sleep", lambda _seconds: None)
    plans, running = (Server(), Server()), []
    for plan in plans:

        class Handler(BaseHTTPRequestHandler):
            server_plan = plan

            def log_message(self, *_args: object) -> None: ...

            def do_GET(self) -> None:
                said = self.headers.get("Authorization", "")
                self.server_plan.heard.append(said)
                moved = self.path.startswith("/moved")
                known = said == "Basic " + base64.b64encode(b"joe:p@ss/w\xc3\xb6rd").decode()
                self.send_response(302 if moved else 200 if known else 401)
                self.send_header("Location", f"{self.server_plan.elsewhere}/weights.pt")
                self.send_header("Content-Length", str(0 if moved or not known else len(CONTENT)))
                self.end_headers()
                self.wfile.write(b"" if moved or not known else CONTENT)

        httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        plan.port = httpd.server_address[1]
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        running.append((httpd, thread))
    yield plans
    for httpd, thread in running:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


PASSWORD = "p%40ss%2Fw%C3%B6rd"


def test_a_password_in_the_address_is_sent_and_not_shown(servers: tuple[Server, Server], tmp_path: Path) -> None:
    digest = hashlib.sha256(CONTENT).hexdigest()
    source = resolve(f"http://joe:{PASSWORD}@127.0.0.1:{servers[0].port}/weights.pt", sha256=digest)
    fetched = fetch(source, tmp_path)
    assert fetched.path.read_bytes() == CONTENT
    assert origin(fetched.path)["url"] == f"http://***@127.0.0.1:{servers[0].port}/weights.pt"


@pytest.mark.parametrize("password", ["wrong", "wr%6Fng"])
def test_a_wrong_password_is_refused_and_not_shown(
    servers: tuple[Server, Server], tmp_path: Path, password: str
) -> None:
    source = resolve(f"http://joe:{password}@127.0.0.1:{servers[0].port}/weights.pt", sha256="0" * 64)
    with pytest.raises(EdgedError, match="answered 401") as caught:
        fetch(source, tmp_path)
    assert "wrong" not in str(caught.value)


def test_a_redirection_to_another_server_does_not_carry_the_password(
    servers: tuple[Server, Server], tmp_path: Path
) -> None:
    first, second = servers
    first.elsewhere = f"http://127.0.0.1:{second.port}"
    source = resolve(f"http://joe:{PASSWORD}@127.0.0.1:{first.port}/moved/weights.pt", sha256="0" * 64)
    with pytest.raises(EdgedError, match="answered 401"):
        fetch(source, tmp_path)
    assert first.heard[0].startswith("Basic ")
    assert second.heard == [""]
