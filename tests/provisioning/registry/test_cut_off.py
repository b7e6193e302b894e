"""A network that breaks in the middle of a file: what came is kept, and the bundle of before stays."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from provisioning.store import Store
from tests.provisioning.registry.boxes import Box, active, add_bundle
from tests.provisioning.registry.conftest import PASSWORD

SLACK_BYTES = 100_000  # of TLS, headers, manifests and signature


class Proxy:
    """Hands a connection on to the registry, and cuts it after `most` bytes that came back; counts these."""

    def __init__(self, registry: str) -> None:
        self._registry = ("localhost", int(registry.rpartition(":")[2]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"localhost:{self._listener.getsockname()[1]}"
        self.most = 1 << 40
        self.passed = 0

    def serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._registry)
            threading.Thread(target=self._back, args=(server, client), daemon=True).start()
            threading.Thread(target=self._forth, args=(client, server), daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _forth(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := client.recv(1 << 14):
                server.sendall(block)

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        left = self.most
        with server, client, contextlib.suppress(OSError):
            while left and (block := server.recv(min(1 << 14, left))):
                client.sendall(block)
                left -= len(block)
                self.passed += len(block)
            client.shutdown(socket.SHUT_RDWR)
            server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(box: Box) -> Iterator[Proxy]:
    proxy = Proxy(box.host)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    yield proxy
    proxy.close()
    thread.join()


def large_model(store: Path, size: int) -> bytes:
    """A model that works, with `size` bytes in it that nothing shortens."""
    model = onnx.load_from_string(Store(store).open("squares").read("model.onnx"))
    onnx.helper.set_model_props(model, {"noise": os.urandom(size // 2).hex()})
    return bytes(model.SerializeToString())


def test_a_download_that_is_cut_off_goes_on_with_the_next_pull_and_fetches_no_byte_twice(
    box: Box, store: Path, proxy: Proxy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert box.push(store, "small") == 0
    assert box.pull(tmp_path, "small") == 0
    before = active(tmp_path)
    record = add_bundle(tmp_path / "large", store, model=large_model(store, 2_000_000)).manifest.files["model.onnx"]
    assert box.push(tmp_path / "large", "cut") == 0
    capsys.readouterr()

    secret = base64.b64encode(f"boxes:{PASSWORD}".encode()).decode()
    (tmp_path / "auth.json").write_text(json.dumps({"auths": {proxy.host: {"auth": secret}}}))
    (tmp_path / "auth.json").chmod(0o600)
    through = ("--credentials", str(tmp_path / "auth.json"))
    proxy.most = 300_000
    assert box.pull(tmp_path, "cut", *through, host=proxy.host) == 69
    said = capsys.readouterr().err
    assert said.count("broke off after") == 1
    assert "the same command goes on" in said
    assert active(tmp_path) == before
    kept = (tmp_path / "work/registry" / f"{record.sha256}.part").stat().st_size
    assert 4 * 300_000 - SLACK_BYTES < kept < 4 * 300_000

    proxy.most, proxy.passed = 1 << 40, 0
    assert box.pull(tmp_path, "cut", *through, host=proxy.host) == 0
    assert record.bytes - kept <= proxy.passed < record.bytes - kept + SLACK_BYTES
    assert active(tmp_path) != before
    assert Store(tmp_path / "models").open("squares").manifest.files["model.onnx"] == record
