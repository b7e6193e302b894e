"""The page's server against a real daemon, asked as browsers, scripts and attackers ask."""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from tests.brokers import Broker, wait_for
from tests.view.looking import View, socket_of, walking_box

TOKEN = "0123456789abcdef0123"
WITH_TOKEN = f'[listen]\nport = 0\ntoken = "{TOKEN}"'
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[View]:
    """A page without a daemon."""
    folder = tmp_path_factory.mktemp("alone")
    with View(folder, folder / "feed.sock") as view:
        yield view


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[View]:
    """A page that asks for a token."""
    with View(tmp_path, tmp_path / "feed.sock", config=WITH_TOKEN) as view:
        yield view


def test_what_the_daemon_says_is_there(broker: Broker, tmp_path: Path) -> None:
    with walking_box(tmp_path, broker.port) as box, View(tmp_path, socket_of(box)) as view:
        wait_for(lambda: view.now()["open"], timeout_s=30, what="an event goes on")
        now = view.now()
        assert now["connected"]
        assert now["device"] == "box"
        assert now["states"]["gate"]["state"] == "online"
        assert view.ask("/readyz")[0] == 200
        event = now["open"][0]["event"]
        story = view.json(f"/api/events/{event}")["messages"]
        assert story[0]["type"] == "start"
        wait_for(lambda: view.json("/api/events?label=red&zone=all")["events"], what="it is found by label and zone")
        assert view.json("/api/events?label=blue")["events"] == []
        assert view.json("/api/events?since=2100-01-01T00:00:00Z")["events"] == []
        wait_for(lambda: view.ask(f"/api/events/{event}/snapshot")[0] == 200, timeout_s=20, what="its snapshot")
        status, headers, jpeg = view.ask("/api/cameras/gate/picture.jpg?side=320")
        assert (status, headers["Content-Type"], jpeg[:2]) == (200, "image/jpeg", b"\xff\xd8")

        box.signal(signal.SIGKILL)
        box.wait()
        wait_for(lambda: not view.now()["connected"], what="the daemon is gone")
        assert view.ask("/readyz")[0] == 503
        assert view.ask("/healthz")[0] == 200
        box.start()
        wait_for(lambda: view.now()["connected"], timeout_s=30, what="the daemon is back")
        last = view.json(f"/api/events/{event}")["messages"][-1]
        assert (last["type"], last["because"]) == ("end", ["restart"]), "every start has an end here, too"
        assert view.stop() == 0


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/events?camera=../x", 400),
        ("/api/events?limit=0", 400),
        ("/api/events?limit=99999999999999999999", 400),
        ("/api/events?since=yesterday", 400),
        ("/api/events/..%2f..%2fetc%2fpasswd", 404),
        ("/api/events/01KAZ0000000000000000000AA", 404),
        ("/api/events/01KAZ0000000000000000000AA/snapshot", 404),
        ("/api/events/7ZZZZZZZZZZZZZZZZZZZZZZZZZ/snapshot", 404),
        ("/api/events?limit=000500999", 400),
        ("/api/cameras/nobody/picture", 404),
        ("/api/cameras/..%2f/picture", 404),
        ("/..%2f..%2fetc%2fpasswd", 404),
        ("/../view/run.py", 404),
        ("/login.html", 404),
        ("/api/fleet", 404),
        ("/api/unknown", 404),
    ],
)
def test_what_is_not_there_is_said_in_a_line(alone: View, path: str, status: int) -> None:
    answered, headers, content = alone.ask(path)
    assert answered == status
    assert b"Traceback" not in content
    assert "Server" not in headers


def test_a_long_address_is_refused(alone: View) -> None:
    assert alone.ask("/" + "x" * 5000)[0] == 400
    assert alone.ask("/healthz", headers={"X-Long": "x" * 10_000})[0] == 400


def test_every_answer_has_the_headers_that_browsers_obey(alone: View) -> None:
    for path in ("/", "/main.js", "/api/now", "/nothing", "/healthz", "/metrics"):
        _, headers, _ = alone.ask(path)
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "*" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in headers
        assert headers["Cache-Control"] in {"no-store", "no-cache"}


def test_the_page_asks_nothing_of_another_host() -> None:
    folder = Path(__file__).parents[2] / "edged" / "view" / "page"
    for file in folder.iterdir():
        text = file.read_text()
        assert "://" not in text.replace("http://www.w3.org/2000/svg", ""), file
        assert "innerHTML" not in text, file
        assert "style=" not in text, file


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": ""}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Host": "localhost"}, 200),
    ],
)
def test_other_sites_and_names_get_nothing(alone: View, headers: dict[str, str], status: int) -> None:
    assert alone.ask("/api/now", headers=headers)[0] == status


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"])
def test_other_methods_do_nothing(alone: View, method: str) -> None:
    assert alone.ask("/api/now", method=method)[0] in {400, 404, 405}


def test_a_large_body_is_refused(guarded: View) -> None:
    status, _, _ = guarded.ask("/login", method="POST", body="token=" + "x" * 100_000, headers=FORM)
    assert status == 413


@pytest.mark.parametrize(
    "kind", ["multipart/form-data", "multipart/form-data; boundary=", "text/plain; charset=no", ""]
)
def test_a_form_that_is_none_is_a_wrong_token(guarded: View, kind: str) -> None:
    status, _, content = guarded.ask("/login", method="POST", body="--x\r\nno form", headers={"Content-Type": kind})
    assert status == 401
    assert b"That is not the token." in content
    assert "Traceback" not in guarded.log()


def test_behind_a_proxy_who_guesses_keeps_out_only_himself(tmp_path: Path) -> None:
    with View(tmp_path, tmp_path / "feed.sock", config=f"{WITH_TOKEN}\nproxy = true") as view:
        for _ in range(7):
            view.ask("/metrics", headers={"Authorization": "Bearer wrong", "X-Forwarded-For": "10.0.0.1, 10.0.0.66"})
        asked = {"Authorization": f"Bearer {TOKEN}"}
        assert view.ask("/metrics", headers={**asked, "X-Forwarded-For": "10.0.0.66"})[0] == 429
        assert view.ask("/metrics", headers={**asked, "X-Forwarded-For": "10.0.0.7"})[0] == 200


def test_without_the_token_nothing_is_shown(guarded: View) -> None:
    assert guarded.ask("/healthz")[0] == 200
    for path in ("/api/now", "/api/stream", "/metrics", "/main.js", "/api/events", "/api/cameras/gate/picture"):
        status, headers, content = guarded.ask(path)
        assert (status, headers["WWW-Authenticate"]) == (401, "Bearer"), path
        assert content == b"a token is needed\n"
    status, headers, _ = guarded.ask("/")
    assert (status, headers["Location"]) == (303, "/login")
    assert b'name="token"' in guarded.ask("/login")[2]


def test_the_token_opens_a_session_that_scripts_of_other_sites_cannot_use(guarded: View) -> None:
    status, headers, _ = guarded.ask("/login", method="POST", body=urlencode({"token": TOKEN}), headers=FORM)
    assert (status, headers["Location"]) == (303, "/")
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    session = {"Cookie": cookie.partition(";")[0]}
    assert guarded.ask("/api/now", headers=session)[0] == 200
    assert guarded.ask("/api/now", headers={**session, "Origin": "http://evil.example"})[0] == 403
    assert guarded.ask("/logout", method="POST", body="", headers=session)[0] == 303
    assert guarded.ask("/api/now", headers=session)[0] == 401


def test_a_stream_ends_with_its_session_however_busy_it_is(broker: Broker, tmp_path: Path) -> None:
    with walking_box(tmp_path, broker.port) as box, View(tmp_path, socket_of(box), config=WITH_TOKEN) as view:
        _, headers, _ = view.ask("/login", method="POST", body=urlencode({"token": TOKEN}), headers=FORM)
        session = headers["Set-Cookie"].partition(";")[0]
        with socket.create_connection(("127.0.0.1", urlsplit(view.url).port or 0), timeout=10) as stream:
            stream.sendall(f"GET /api/stream HTTP/1.1\r\nHost: localhost\r\nCookie: {session}\r\n\r\n".encode())
            received = b""
            while received.count(b"event: statistics") < 2:  # something is said every second
                received += stream.recv(1 << 16)
            assert view.ask("/logout", method="POST", body="", headers={"Cookie": session})[0] == 303
            while not received.endswith(b"0\r\n\r\n"):  # the end of the answer
                more = stream.recv(1 << 16)
                assert more
                received += more


def test_scripts_show_the_token_itself(guarded: View) -> None:
    assert guarded.ask("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})[0] == 200
    basic = base64.b64encode(f"x:{TOKEN}".encode()).decode()
    assert guarded.ask("/metrics", headers={"Authorization": f"Basic {basic}"})[0] == 401
    assert guarded.ask(f"/metrics?token={TOKEN}")[0] == 401, "addresses end up in logs"


def test_guessing_is_stopped_and_the_token_is_in_no_log(guarded: View) -> None:
    answers = [
        guarded.ask("/login", method="POST", body=urlencode({"token": f"guess {number}"}), headers=FORM)[0]
        for number in range(7)
    ]
    assert answers == [401] * 5 + [429] * 2
    assert guarded.ask("/login", method="POST", body=urlencode({"token": TOKEN}), headers=FORM)[0] == 429
    assert guarded.ask("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})[0] == 429
    assert TOKEN not in guarded.log()


def test_tls_is_spoken_and_cookies_stay_within_it(tmp_path: Path) -> None:
    how = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem"
    subprocess.run(how.split(), check=True, capture_output=True, cwd=tmp_path)
    files = f'cert_file = "{tmp_path}/cert.pem"\nkey_file = "{tmp_path}/key.pem"'
    with View(tmp_path, tmp_path / "feed.sock", config=f"{WITH_TOKEN}\n{files}") as view:
        assert view.url.startswith("https://")
        context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        context.check_hostname = False
        body = urlencode({"token": TOKEN})
        request = f"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM['Content-Type']}\r\n"
        plain = socket.create_connection(("127.0.0.1", urlsplit(view.url).port or 0))
        with context.wrap_socket(plain) as wrapped:
            wrapped.sendall(f"{request}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            answer = wrapped.recv(4096).decode()
        assert "303" in answer.splitlines()[0]
        assert "Secure" in next(line for line in answer.splitlines() if line.startswith("Set-Cookie"))


def test_a_wrong_certificate_ends_with_a_line(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("no certificate")
    files = f'cert_file = "{tmp_path}/cert.pem"\nkey_file = "{tmp_path}/cert.pem"'
    view = View(tmp_path, tmp_path / "feed.sock", config=f"{WITH_TOKEN}\n{files}")
    with pytest.raises(AssertionError, match=r"cert_file .*cert.pem"):
        view.start()
    assert view.process is not None
    assert view.process.wait(5) == 78


def test_a_taken_port_ends_with_a_line(alone: View, tmp_path: Path) -> None:
    port = urlsplit(alone.url).port
    other = View(tmp_path, tmp_path / "feed.sock", options=("--listen", f"127.0.0.1:{port}"))
    with pytest.raises(AssertionError, match="choose another port"):
        other.start()
    assert other.process is not None
    assert other.process.wait(5) == 69


def test_who_sends_slowly_or_nonsense_costs_the_others_nothing(alone: View) -> None:
    port = urlsplit(alone.url).port or 0
    with contextlib.ExitStack() as held:
        for number in range(200):
            slow = held.enter_context(socket.create_connection(("127.0.0.1", port)))
            slow.sendall((b"GET /api/now HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", b"\x00\xff\x16\x03\x01")[number % 2])
        began = time.monotonic()
        assert alone.ask("/api/now")[0] == 200
        assert time.monotonic() - began < 5


def test_the_stream_tells_everything_first(alone: View) -> None:
    with socket.create_connection(("127.0.0.1", urlsplit(alone.url).port or 0), timeout=10) as stream:
        stream.sendall(b"GET /api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        while b"\n\n" not in received.partition(b"event: now")[2]:
            received += stream.recv(4096)
    told = json.loads(received.partition(b"data: ")[2].partition(b"\n")[0])
    assert told["connected"] is False
    assert told["cameras"] == []
