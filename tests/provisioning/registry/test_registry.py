"""Bundles through Debian's registry, with TLS and a password: what a box takes, and what it refuses."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from provisioning.__main__ import main
from provisioning.store import Store
from tests.provisioning.registry.boxes import Box, active, add_bundle


def test_a_box_pulls_what_another_pushed_and_a_second_time_nothing(
    box: Box, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert box.push(store, "1") == 0
    digest = capsys.readouterr().out.split()[1].rstrip(",")
    assert box.pull(tmp_path, "1") == 0
    bundle = Store(tmp_path / "models").open("squares")
    assert bundle.manifest.provenance["registry_digest"] == digest
    assert bundle.read("model.onnx") == Store(store).open("squares").read("model.onnx")
    first = active(tmp_path)
    assert first
    assert box.pull(tmp_path, "1") == 0
    assert "nothing to do" in capsys.readouterr().out
    assert box.pull(tmp_path, f"1@{digest}") == 0
    assert active(tmp_path) == first
    assert box.push(store, "1") == 0
    assert digest in capsys.readouterr().out, "the same bundle has the same digest"


@pytest.mark.parametrize(
    ("how", "key", "code", "said"),
    [
        pytest.param(("--unsigned",), "bundles.pub", 65, "is not signed; refused", id="unsigned"),
        pytest.param(None, "other.pub", 65, "no signature of the pinned key", id="other-key"),
        pytest.param(None, "bundles.key", 78, "not a public key", id="not-a-key"),
    ],
)
def test_what_the_pinned_key_did_not_sign_is_refused(
    box: Box, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: tuple[str, ...] | None, key: str,
    code: int, said: str,
) -> None:  # fmt: skip
    assert box.push(store, "seen") == 0
    assert box.pull(tmp_path, "seen") == 0
    before = active(tmp_path)
    add_bundle(tmp_path / "other", store, licence=f"another {key}")
    assert box.push(tmp_path / "other", "doubtful", *(how or ())) == 0
    assert box.pull(tmp_path, "doubtful", key=key) == code
    assert said in capsys.readouterr().err
    assert active(tmp_path) == before


def test_an_altered_file_in_the_registry_is_refused(
    box: Box, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert box.push(store, "altered") == 0
    data = box.blob(Store(store).open("squares").manifest.files["model.onnx"].sha256)
    content = data.read_bytes()
    try:
        data.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert box.pull(tmp_path, "altered") == 65
        assert "the registry sent" in capsys.readouterr().err
        data.write_bytes(content[:-100])
        assert box.pull(tmp_path, "altered") in {65, 69}, "cut short"
    finally:
        data.write_bytes(content)
    assert not active(tmp_path)
    assert box.pull(tmp_path, "altered") == 0


def test_a_broken_download_goes_on_where_it_stopped(
    box: Box, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert box.push(store, "broken") == 0
    record = Store(store).open("squares").manifest.files["model.onnx"]
    part = tmp_path / "work" / "registry" / f"{record.sha256}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(Store(store).open("squares").read("model.onnx")[: record.bytes // 2])
    assert box.pull(tmp_path, "broken") == 0
    capsys.readouterr()
    part.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(tmp_path / "models")
    part.write_bytes(bytes(record.bytes // 2))
    assert box.pull(tmp_path, "broken") == 65, "it did go on behind the wrong half"
    assert box.pull(tmp_path, "broken") == 0


def test_a_full_disk_is_said_before_anything_is_fetched(
    box: Box, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert box.push(store, "large") == 0
    disk = tmp_path / "disk"
    disk.mkdir()
    size = Store(store).open("squares").manifest.files["model.onnx"].bytes
    command = ["mount", "-t", "tmpfs", "-o", f"size={max(size, 4096)}", "tmpfs", str(disk)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("cannot mount a small tmpfs (needs root): disk full is not tested")
    try:
        assert box.pull(disk, "large") == 70
        assert "bytes are needed for the bundle" in capsys.readouterr().err
        assert not active(disk)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_wrong_password_and_a_registry_without_tls_are_named(
    box: Box, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    auth = tmp_path / "auth.json"
    auth.write_text(json.dumps({"auths": {box.host: {"username": "boxes", "password": "battery staple"}}}))
    auth.chmod(0o600)
    assert box.pull(tmp_path, "1", "--credentials", str(auth)) == 78
    said = capsys.readouterr().err
    assert "refuses the password" in said
    assert "battery" not in said
    with socket.create_server(("127.0.0.1", 0)) as plain:
        plain.settimeout(10)
        threading.Thread(target=_answer_plainly, args=(plain,), daemon=True).start()
        place = f"localhost:{plain.getsockname()[1]}/boxes/yard:1"
        assert main(["pull", place, "--unsigned", "--store", str(tmp_path / "m"), "--work", str(tmp_path / "w")]) == 69
    assert "--plain-http" in capsys.readouterr().err


def _answer_plainly(plain: socket.socket) -> None:
    connection, _ = plain.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
