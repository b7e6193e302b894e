"""What somebody may put into a registry by its API: each is refused with one message, and nothing is written."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from provisioning.__main__ import main
from provisioning.registry.artifact import BUNDLE_FILE, IMAGE
from provisioning.registry.connection import Access, Connection
from provisioning.registry.push import push
from provisioning.registry.reference import parse_reference
from provisioning.store import Store
from tests.provisioning.registry.boxes import Box

Whole = dict[str, Any]
MODEL = 1  # which layer


def titled(title: object) -> Callable[[Whole], None]:
    """Gives the model another title."""
    return lambda whole: whole["layers"][MODEL]["annotations"].update({"org.opencontainers.image.title": title})


def sized(size: object, layer: int = MODEL) -> Callable[[Whole], None]:
    """Gives a layer another size."""
    return lambda whole: whole["layers"][layer].update(size=size)


def extra(*titles: str) -> Callable[[Whole], None]:
    """Adds layers with the model's content under other titles."""
    return lambda whole: whole["layers"].extend(
        {**whole["layers"][MODEL], "annotations": {"org.opencontainers.image.title": title}} for title in titles
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(titled("../x"), "'../x' is no file of a bundle", id="above"),
        pytest.param(titled("/etc/x"), "'/etc/x' is no file of a bundle", id="absolute"),
        pytest.param(titled("a/../../x"), "'a/../../x' is no file of a bundle", id="above-from-below"),
        pytest.param(titled("engine-../x.plan"), "is no file of a bundle", id="above-in-an-engine"),
        pytest.param(titled("notes.txt"), "'notes.txt' is no file of a bundle", id="unknown-name"),
        pytest.param(extra("model.onnx"), "it names a file twice", id="twice"),
        pytest.param(extra("manifest.json"), "it names a file twice", id="manifest-twice"),
        pytest.param(extra(*(f"engine-{n}.plan" for n in range(70))), "more than 64", id="too-many"),
        pytest.param(extra("calibration.json"), "is of other files (calibration.json)", id="not-in-manifest.json"),
        pytest.param(lambda whole: whole["layers"].pop(), "it lacks", id="no-model"),
        pytest.param(sized((4 << 30) + 1), "model.onnx is larger than a bundle may be", id="too-large"),
        pytest.param(sized((1 << 20) + 1, 0), "larger than a bundle may be", id="too-large-manifest.json"),
        pytest.param(sized(-1), "misshapen image manifest (ValueError('size -1'))", id="negative-size"),
        pytest.param(
            lambda whole: whole["layers"][MODEL].update(mediaType="application/x-sh"),
            "'model.onnx' is of media type 'application/x-sh'",
            id="media-type-of-a-file",
        ),
        pytest.param(
            lambda whole: whole["layers"][0].update(mediaType=BUNDLE_FILE),
            f"'manifest.json' is of media type '{BUNDLE_FILE}'",
            id="media-type-of-manifest.json",
        ),
        pytest.param(
            lambda whole: whole.update(artifactType="application/vnd.other"),
            "is not a bundle but 'application/vnd.other'",
            id="another-artifact",
        ),
        pytest.param(lambda whole: whole.pop("artifactType"), "is not a bundle", id="an-image"),
    ],
)
def test_what_is_no_bundle_of_ours_is_refused_and_nothing_is_written_outside_the_work_folder(
    box: Box, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Whole], None],
    said: str,
) -> None:  # fmt: skip
    put(box, store, change)
    assert box.pull(tmp_path / "box", "hostile", "--unsigned") == 65
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1, "more than one line"
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and "work" not in path.parts]
    assert not Path("/etc/x").exists()


class Liar(BaseHTTPRequestHandler):
    """A registry that gives `content` for every manifest."""

    content = b""
    length = ""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", self.length or str(len(self.content)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.mark.parametrize(
    ("content", "length", "code", "said"),
    [
        pytest.param(b" " * (5 << 20), "", 65, "of more than 4194304 bytes; refused", id="endless"),
        pytest.param(b"[" * 100_000, "", 65, "misshapen image manifest", id="nested"),
        pytest.param(b"{}", "", 65, "misshapen image manifest", id="empty"),
        pytest.param(b'{"mediaType": ', "999", 69, "broke off after 14 bytes", id="cut-off"),
    ],
)
def test_a_manifest_that_no_registry_would_take_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, length: str, code: int, said: str
) -> None:
    handler = type("Handler", (Liar,), {"content": content, "length": length})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        place = f"localhost:{server.server_port}/boxes/yard:1"
        where = ("--store", str(tmp_path / "models"), "--work", str(tmp_path / "work"))
        assert main(["pull", place, "--unsigned", "--plain-http", *where]) == code
        server.shutdown()
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1
    assert not list(tmp_path.iterdir())


def put(box: Box, store: Path, change: Callable[[Whole], None]) -> None:
    """Push a bundle, and then its image manifest with a change, by the registry's own API."""
    access = Access(ca_file=Path(box.access[1]), credentials=Path(box.access[3]))
    connection = Connection(parse_reference(f"{box.host}/boxes/yard:hostile"), access, writes=True)
    push(Store(store).open("squares"), connection, None)
    with connection.send("GET", "manifests/hostile", headers={"Accept": IMAGE}) as answer:
        whole = json.loads(answer.read())
    change(whole)
    connection.send("PUT", "manifests/hostile", body=json.dumps(whole).encode(), content_type=IMAGE).close()
