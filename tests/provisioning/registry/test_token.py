"""A registry that wants tokens and keeps its files on another host: who gets which secret."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate

from tests.provisioning.registry.boxes import Box, active, free_port, serving

PASSWORD = "staple of horses"
BASIC = "Basic " + base64.b64encode(f"boxes:{PASSWORD}".encode()).decode()
CONFIG = """\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {root}}}}}
middleware: {{storage: [{{name: redirect, options: {{baseurl: "https://{elsewhere}/"}}}}]}}
http: {{addr: "localhost:{port}", tls: {{certificate: {tls}/server.pem, key: {tls}/server.key}}}}
auth: {{token: {{realm: "https://{tokens}/token", service: yard, issuer: yard, rootcertbundle: {tls}/ca.pem}}}}
"""


@dataclass
class Host:
    """A web server of its own: gives tokens at `/token`, files of the registry elsewhere, and notes what it was sent.

    Attributes:
        got: path and Authorization of each request.
        tokens: every token that it gave.
        challenge: answered to whoever wants a file, instead of the file.
    """

    tls: Path
    files: Path
    got: list[tuple[str, str]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    challenge: str = ""
    name: str = ""

    def token(self, query: dict[str, list[str]]) -> str:
        """A token as Debian's registry takes it: a JWT of the server's certificate."""
        certificate = load_pem_x509_certificate((self.tls / "server.pem").read_bytes())
        key = load_pem_private_key((self.tls / "server.key").read_bytes(), password=None)
        assert isinstance(key, rsa.RSAPrivateKey)
        kind, name, actions = query["scope"][0].split(":")
        now = int(time.time())
        header = {
            "alg": "RS256",
            "typ": "JWT",
            "x5c": [base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()],
        }
        claims = {
            "iss": "yard",
            "sub": "boxes",
            "aud": query["service"][0],
            "jti": str(len(self.tokens)),
            "nbf": now - 60,
            "iat": now,
            "exp": now + 300,
            "access": [{"type": kind, "name": name, "actions": actions.split(",")}],
        }
        signed = ".".join(_letters(json.dumps(part).encode()) for part in (header, claims))
        self.tokens.append(f"{signed}.{_letters(key.sign(signed.encode(), padding.PKCS1v15(), SHA256()))}")
        return self.tokens[-1]


def _letters(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class Handler(SimpleHTTPRequestHandler):
    """Answers for a `Host`."""

    host: Host

    def do_GET(self) -> None:
        self._answer(super().do_GET)

    def do_HEAD(self) -> None:
        self._answer(super().do_HEAD)

    def _answer(self, give_file: object) -> None:
        sent = self.headers.get("Authorization", "")
        self.host.got.append((self.path, sent))
        if self.path.startswith("/token"):
            query = parse_qs(urlsplit(self.path).query)
            content = json.dumps({"token": self.host.token(query)}).encode() if sent == BASIC else b""
            self.send_response(200 if content else 401)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        elif self.host.challenge:
            self.send_response(401)
            self.send_header("WWW-Authenticate", self.host.challenge)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            assert callable(give_file)
            give_file()

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


def _running(host: Host) -> ThreadingHTTPServer:
    def handler(*arguments: object) -> Handler:
        return type("Of", (Handler,), {"host": host})(*arguments, directory=str(host.files))  # type: ignore[no-any-return]

    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(host.tls / "server.pem", host.tls / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    host.name = f"localhost:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


@dataclass
class Yard:
    """The registry, who gives its tokens, and who keeps its files."""

    box: Box
    tokens: Host
    elsewhere: Host


@pytest.fixture(scope="module")
def yard(box: Box, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    folder = tmp_path_factory.mktemp("yard")
    tls, data, port = box.keys / "tls", folder / "data", free_port()
    data.mkdir()
    tokens, elsewhere = Host(tls, data), Host(tls, data)
    with _running(tokens) as first, _running(elsewhere) as second:
        config = CONFIG.format(root=data, port=port, tls=tls, tokens=tokens.name, elsewhere=elsewhere.name)
        (folder / "config.yml").write_text(config)
        access = ["--ca-file", str(tls / "ca.pem"), "--credentials", str(_credentials(folder, port, PASSWORD))]
        with serving(folder / "config.yml", port):
            yield Yard(Box(f"localhost:{port}", data, box.keys, access), tokens, elsewhere)
        first.shutdown()
        second.shutdown()


def _credentials(folder: Path, port: int | str, password: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "auth.json"
    path.write_text(json.dumps({"auths": {f"localhost:{port}": {"username": "boxes", "password": password}}}))
    path.chmod(0o600)
    return path


def test_tokens_open_a_registry_and_go_to_no_other_host(
    yard: Yard, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert yard.box.push(store, "1") == 0
    assert yard.box.pull(tmp_path, "1") == 0
    assert active(tmp_path)
    assert yard.tokens.tokens
    assert {sent for _, sent in yard.tokens.got} == {BASIC}
    files = [path for path, _ in yard.elsewhere.got if path.endswith("/data")]
    assert files, "the registry did not send anybody to the other host"
    assert {sent for _, sent in yard.elsewhere.got} == {""}
    said = "".join(capsys.readouterr())
    assert PASSWORD not in said
    assert not [token for token in yard.tokens.tokens if token in said]


def test_a_wrong_password_for_tokens_is_refused_and_not_shown(
    yard: Yard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = _credentials(tmp_path / "wrong", yard.box.host.rpartition(":")[2], "battery of wolves")
    assert yard.box.pull(tmp_path, "1", "--credentials", str(wrong)) == 78
    said = "".join(capsys.readouterr())
    assert "refuses the password" in said
    assert "battery" not in said
    assert base64.b64encode(b"boxes:battery of wolves").decode() not in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("kind", ["Bearer", "Basic"])
def test_a_host_that_keeps_files_gets_no_password_when_it_asks_for_one(
    yard: Yard, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    assert yard.box.push(store, "1") == 0
    yard.elsewhere.got.clear()
    yard.elsewhere.challenge = f'{kind} realm="https://{yard.elsewhere.name}/token",service="yard"'
    try:
        code = yard.box.pull(tmp_path, "1", "--unsigned")
    finally:
        yard.elsewhere.challenge = ""
    assert yard.elsewhere.got
    assert {sent for _, sent in yard.elsewhere.got} == {""}
    assert not yard.elsewhere.tokens
    assert code == 69
    assert f"localhost, to which registry {yard.box.host} leads, answered 401" in capsys.readouterr().err
