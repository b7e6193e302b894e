"""Downloads against a real HTTP server on the loopback, faults included."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edged.core.errors import DataError, EdgedError, Unreachable, UsageError
from provisioning.fetching.download import _refuse_downgrade
from provisioning.fetching.fetch import fetch, origin, resolve
from provisioning.fetching.known import Source

CONTENT = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """What the server does next, and what it was asked."""

    url: str = ""
    content: bytes = CONTENT
    etag: str = '"one"'
    cut_after: list[int] = field(default_factory=list)  # bytes sent before the connection is cut, one a request
    status: list[int] = field(default_factory=list)  # answers given instead of the file, one a request
    content_type: str = "application/octet-stream"
    ranges: list[str] = field(default_factory=list)
    ignores_range: bool = False

    def source(self, sha256: str = DIGEST) -> Source:
        return Source(url=f"{self.url}/weights.pt", file_name="weights.pt", sha256=sha256, licence="MIT")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    plan = Server()
    monkeypatch.setattr("provisioning.fetching.download.time.sleep", lambda _seconds: None)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_args: object) -> None: ...

        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            plan.ranges.append(wanted)
            if plan.status:
                self.send_error(plan.status.pop(0))
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            if plan.ignores_range or self.headers.get("If-Range", plan.etag) != plan.etag:
                start = 0
            if start >= len(plan.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(plan.content)}")
                self.end_headers()
                return
            body = plan.content[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(plan.content) - 1}/{len(plan.content)}")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", plan.content_type)
            self.send_header("ETag", plan.etag)
            self.end_headers()
            cut = plan.cut_after.pop(0) if plan.cut_after else len(body)
            self.wfile.write(body[:cut])

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    plan.url = f"http://127.0.0.1:{httpd.server_address[1]}"
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), name="http", daemon=True)
    thread.start()
    yield plan
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def test_fetch_writes_the_file_and_its_origin(server: Server, tmp_path: Path) -> None:
    fetched = fetch(server.source(), tmp_path)

    assert fetched.path.read_bytes() == CONTENT
    assert (fetched.sha256, fetched.bytes, fetched.licence) == (DIGEST, len(CONTENT), "MIT")
    assert origin(fetched.path)["sha256"] == DIGEST
    assert sorted(path.name for path in tmp_path.iterdir()) == ["weights.pt", "weights.pt.origin.json"]


def test_fetch_of_a_verified_file_asks_nobody(server: Server, tmp_path: Path) -> None:
    fetch(server.source(), tmp_path)
    fetch(server.source(), tmp_path)
    assert len(server.ranges) == 1


def test_fetch_resumes_in_the_same_run_where_the_connection_broke(server: Server, tmp_path: Path) -> None:
    server.cut_after = [300_000, 200_000]
    fetched = fetch(server.source(), tmp_path)
    assert fetched.path.read_bytes() == CONTENT
    assert server.ranges == ["", "bytes=300000-", "bytes=500000-"]


def test_fetch_resumes_in_a_later_run(server: Server, tmp_path: Path) -> None:
    server.cut_after = [100_000, 0, 0, 0]
    with pytest.raises(Unreachable, match="100000 bytes are kept"):
        fetch(server.source(), tmp_path)
    assert fetch(server.source(), tmp_path).path.read_bytes() == CONTENT
    assert server.ranges[-1] == "bytes=100000-"


def test_fetch_starts_over_when_the_file_changed_on_the_server(server: Server, tmp_path: Path) -> None:
    server.content, server.etag, server.cut_after = b"x" * 900_000, '"old"', [400_000, 0, 0, 0]
    with pytest.raises(Unreachable):
        fetch(server.source(), tmp_path)
    server.content, server.etag = CONTENT, '"new"'
    assert fetch(server.source(), tmp_path).path.read_bytes() == CONTENT


def test_fetch_starts_over_when_the_server_knows_no_ranges(server: Server, tmp_path: Path) -> None:
    server.cut_after, server.ignores_range = [400_000], True
    assert fetch(server.source(), tmp_path).path.read_bytes() == CONTENT


def test_fetch_accepts_a_part_that_was_complete(server: Server, tmp_path: Path) -> None:
    (tmp_path / "weights.pt.part").write_bytes(CONTENT)
    (tmp_path / "weights.pt.part.etag").write_text(server.etag)
    assert fetch(server.source(), tmp_path).path.read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT)}-"]


def test_fetch_of_wrong_bytes_says_both_hashes_and_keeps_what_was_good(server: Server, tmp_path: Path) -> None:
    (tmp_path / "other.pt").write_bytes(b"good")
    wrong = "0" * 64
    with pytest.raises(DataError, match=f"expected SHA-256 {wrong}, got {DIGEST}") as caught:
        fetch(server.source(wrong), tmp_path)
    assert caught.value.exit_code == 65
    assert not (tmp_path / "weights.pt").exists()
    assert (tmp_path / "weights.pt.rejected").read_bytes() == CONTENT
    assert (tmp_path / "other.pt").read_bytes() == b"good"


def test_fetch_never_replaces_an_existing_file_of_another_hash(server: Server, tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"mine")
    with pytest.raises(DataError, match="left as it is"):
        fetch(server.source(), tmp_path)
    assert (tmp_path / "weights.pt").read_bytes() == b"mine"
    assert server.ranges == []


def test_fetch_without_a_hash_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--trust-first"):
        fetch(server.source(""), tmp_path)
    assert server.ranges == []


def test_fetch_trusting_first_expects_the_same_from_then_on(server: Server, tmp_path: Path) -> None:
    first = fetch(server.source(""), tmp_path, trust_first=True)
    assert first.sha256 == DIGEST
    first.path.unlink()
    server.content, server.etag = b"tampered" * 1000, '"two"'
    with pytest.raises(DataError, match=DIGEST):
        fetch(server.source(""), tmp_path, trust_first=True)


def test_fetch_trusting_first_refuses_plain_http_from_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="plain http"):
        fetch(resolve("http://192.0.2.1/w.pt"), tmp_path, trust_first=True)


@pytest.mark.parametrize(("status", "requests"), [pytest.param(404, 1, id="gone"), pytest.param(503, 4, id="busy")])
def test_fetch_names_the_servers_answer(server: Server, tmp_path: Path, status: int, requests: int) -> None:
    server.status = [status] * 4
    with pytest.raises(Unreachable, match=f"answered {status}"):
        fetch(server.source(), tmp_path)
    assert len(server.ranges) == requests


def test_fetch_recovers_from_a_busy_server(server: Server, tmp_path: Path) -> None:
    server.status = [503]
    assert fetch(server.source(), tmp_path).sha256 == DIGEST


def test_fetch_never_follows_https_to_plain_http() -> None:
    with pytest.raises(DataError, match=r"redirected to plain http, http://b\.example/x\?\*\*\*"):
        _refuse_downgrade("https://a.example/x", "http://b.example/x?token=secret")
    _refuse_downgrade("https://a.example/x", "https://b.example/x")
    _refuse_downgrade("http://127.0.0.1/x", "http://127.0.0.1/y")


def test_fetch_of_a_web_page_says_so(server: Server, tmp_path: Path) -> None:
    server.content_type = "text/html; charset=utf-8"
    with pytest.raises(DataError, match="web page"):
        fetch(server.source(), tmp_path)


def test_fetch_from_nobody_is_unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisioning.fetching.download.time.sleep", lambda _seconds: None)
    source = Source(url="http://127.0.0.1:9/w.pt", file_name="w.pt", sha256=DIGEST, licence="MIT")
    with pytest.raises(Unreachable, match="refused"):
        fetch(source, tmp_path)


def test_fetch_into_a_file_instead_of_a_folder_says_so(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(EdgedError, match="cannot write below"):
        fetch(server.source(), tmp_path / "file")


def test_fetch_hides_credentials_of_the_address(server: Server, tmp_path: Path) -> None:
    server.status = [404]
    source = resolve(f"{server.url}/weights.pt?token=secret", sha256=DIGEST)
    with pytest.raises(Unreachable) as caught:
        fetch(source, tmp_path)
    assert "secret" not in str(caught.value)
    fetched = fetch(source, tmp_path)
    assert "secret" not in json.dumps(dict(origin(fetched.path)))


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


ZIP = zipped({"rtmdet/detail.json": b"{}", "rtmdet/end2end.onnx": CONTENT})


def packed(server: Server, sha256: str = DIGEST, content: bytes = ZIP) -> Source:
    server.content = content
    return resolve(f"{server.url}/export.zip#end2end.onnx", sha256=sha256)


def test_fetch_takes_the_weights_out_of_a_zip_file(server: Server, tmp_path: Path) -> None:
    fetched = fetch(packed(server), tmp_path)

    assert fetched.path == tmp_path / "end2end.onnx"
    assert fetched.path.read_bytes() == CONTENT
    assert (fetched.sha256, fetched.bytes, fetched.member) == (DIGEST, len(CONTENT), "end2end.onnx")
    assert origin(fetched.path)["url"] == f"{server.url}/export.zip"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["end2end.onnx", "end2end.onnx.origin.json"]
    fetch(packed(server), tmp_path)
    assert len(server.ranges) == 1, "what is there and verified is not downloaded again"


def test_fetch_resumes_a_zip_file(server: Server, tmp_path: Path) -> None:
    source, server.cut_after = packed(server), [len(ZIP) // 2]
    assert fetch(source, tmp_path).path.read_bytes() == CONTENT
    assert server.ranges == ["", f"bytes={len(ZIP) // 2}-"]


def test_fetch_of_a_member_with_another_hash_keeps_it_aside(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"expected SHA-256 {'0' * 64}, got {DIGEST}"):
        fetch(packed(server, "0" * 64), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["end2end.onnx.rejected"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(CONTENT, "cannot be unpacked", id="no-zip-file"),
        pytest.param(ZIP[:-30], "cannot be unpacked", id="truncated"),
        pytest.param(ZIP.replace(ZIP[400:420], bytes(20)), "cannot be unpacked", id="damaged"),
        pytest.param(zipped({"model.onnx": CONTENT}), "0 files named 'end2end.onnx', .* it has model.onnx", id="other"),
        pytest.param(zipped({"a/end2end.onnx": b"a", "end2end.onnx": b"b"}), "2 files named", id="two"),
        pytest.param(zipped({}), "it has nothing", id="empty"),
    ],
)
def test_fetch_of_a_zip_file_that_is_none_says_so(server: Server, tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        fetch(packed(server, content=content), tmp_path)
    assert "end2end.onnx.rejected" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["end2end.onnx.rejected"]


def test_a_stated_hash_is_shown_and_asked_for(server: Server, tmp_path: Path) -> None:
    stated = replace(server.source(), stated=True)
    with pytest.raises(UsageError, match=f"is stated as {DIGEST}, which nobody here has verified"):
        fetch(stated, tmp_path)
    assert server.ranges == []

    assert fetch(stated, tmp_path, trust_first=True).sha256 == DIGEST
    assert fetch(stated, tmp_path).sha256 == DIGEST, "what was trusted once is expected from then on"


def test_a_stated_hash_is_expected_even_by_who_trusts(server: Server, tmp_path: Path) -> None:
    stated = replace(server.source("0" * 64), stated=True)
    with pytest.raises(DataError, match=f"expected SHA-256 {'0' * 64}"):
        fetch(stated, tmp_path, trust_first=True)
