"""Weights of a recipe: downloaded from a real server, or trained (by a stand-in)."""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edged.core.errors import DataError, UsageError
from provisioning.recipe import weights as module
from provisioning.recipe.settings import ProvisionSettings
from provisioning.recipe.weights import obtain
from provisioning.recipe.workshop import Workshop
from provisioning.training import launch as training
from provisioning.training.settings import TrainSettings

CONTENT = b"weights" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def shop(root: Path, *, dry_run: bool = False) -> tuple[Workshop, list[str]]:
    said: list[str] = []
    return Workshop(root / "work", force=False, dry_run=dry_run, say=said.append), said


def settings(**values: object) -> ProvisionSettings:
    return ProvisionSettings.model_validate({"precision": "fp32", **values})


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_args: object) -> None: ...

    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "net.pt").write_bytes(CONTENT)
    handler = functools.partial(Quiet, directory=str(tmp_path / "served"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="http", daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/net.pt"
    server.shutdown()
    server.server_close()
    thread.join()


def test_weights_are_fetched_once(address: str, tmp_path: Path) -> None:
    wanted = settings(weights=address, sha256=DIGEST, licence="MIT")
    for expected in ("fetched", "up to date"):
        workshop, said = shop(tmp_path)
        with workshop.locked():
            got = obtain(wanted, workshop)
        assert (got.sha256, got.licence) == (DIGEST, "MIT")
        assert got.path.read_bytes() == CONTENT
        assert expected in said[0]


def test_a_dry_run_fetches_nothing(address: str, tmp_path: Path) -> None:
    workshop, said = shop(tmp_path, dry_run=True)
    got = obtain(settings(weights=address, sha256=DIGEST), workshop)
    assert got.sha256 == DIGEST
    assert not got.path.exists()
    assert "would be fetched" in said[0]


def test_a_download_of_other_bytes_is_refused(address: str, tmp_path: Path) -> None:
    workshop, _ = shop(tmp_path)
    with workshop.locked(), pytest.raises(DataError, match=DIGEST):
        obtain(settings(weights=address, sha256="0" * 64), workshop)


def write_data(folder: Path) -> None:
    (folder / "images").mkdir()
    (folder / "data.yaml").write_text("train: images\nnames: [a]")


def test_a_training_is_made_once_and_resumed_where_it_was_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_data(tmp_path)
    calls: list[TrainSettings] = []

    def launch(asked: TrainSettings) -> list[str]:
        calls.append(asked)
        asked.output.mkdir(parents=True, exist_ok=True)
        (asked.output / "last.pt").write_bytes(b"last")
        if len(calls) == 1:
            raise KeyboardInterrupt
        (asked.output / "best.pt").write_bytes(b"best")
        return ["1 epochs"]

    monkeypatch.setattr(training, "launch", launch)
    wanted = settings(dataset=str(tmp_path / "data.yaml"), size="320", train_arguments=["--epochs", "3"])
    with pytest.raises(KeyboardInterrupt):
        _obtained(tmp_path, wanted)
    assert _obtained(tmp_path, wanted).path.read_bytes() == b"best"
    assert _obtained(tmp_path, wanted).path.read_bytes() == b"best"
    assert len(calls) == 2
    assert [each.resume for each in calls] == [False, True]
    assert calls[1].output == calls[0].output
    assert (calls[1].epochs, calls[1].side) == (3, 320)


def _obtained(tmp_path: Path, wanted: ProvisionSettings) -> module.Weights:
    workshop, _ = shop(tmp_path)
    with workshop.locked():
        return obtain(wanted, workshop)


def test_a_training_takes_square_pictures_and_known_options_only(tmp_path: Path) -> None:
    write_data(tmp_path)
    spec = str(tmp_path / "data.yaml")
    with pytest.raises(UsageError, match="square"):
        _obtained(tmp_path, settings(dataset=spec, size="640x384"))
    with pytest.raises(UsageError, match="train_arguments"):
        _obtained(tmp_path, settings(dataset=spec, train_arguments=["--no-such-option"]))
