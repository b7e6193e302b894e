"""Names and addresses of weights: where they lead, what they must hash to, and what is refused."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from edged.core.errors import UsageError
from provisioning.__main__ import main
from provisioning.fetching.fetch import resolve
from provisioning.fetching.known import Source, catalogue, licence_of


def test_resolve_of_an_official_name_is_pinned_and_licensed() -> None:
    source = resolve("yolov5n")
    assert source.url.endswith("/v7.0/yolov5n.pt")
    assert source.licence == "AGPL-3.0"
    assert len(source.sha256) == 64


def test_resolve_pins_what_the_data_has(test_data: Path) -> None:
    weights = (test_data / "weights" / "yolov5n.pt").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == resolve("yolov5n").sha256


@pytest.mark.parametrize(
    ("wanted", "sha256", "message"),
    [
        pytest.param("yolov9", "", "neither a known name", id="unknown-name"),
        pytest.param("yolov5s@4.9", "", "no yolov5s in YOLOv5 release 4.9", id="unknown-release"),
        pytest.param("yolov5n@5.0", "", "no yolov5n in YOLOv5 release 5.0", id="no-nano-in-5"),
        pytest.param("file:///etc/passwd", "", "neither a known name", id="file-url"),
        pytest.param("https://host/..", "", "plain file name", id="dots"),
        pytest.param("https://host/a.zip", "", "is a zip file", id="zip-without-a-member"),
        pytest.param("https://host/a.zip#../x.onnx", "", "plain file name", id="member-outside"),
        pytest.param("https://host/%2e%2e%2fx", "12", "64 hexadecimal", id="short-hash"),
        pytest.param("yolov5n", "0" * 64, "is pinned to", id="contradicts-the-pin"),
        pytest.param("yolox-nano", "0" * 64, "is pinned to", id="contradicts-what-is-stated"),
    ],
)
def test_resolve_refuses(wanted: str, sha256: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve(wanted, sha256=sha256)


def test_a_stated_hash_is_confirmed_by_the_user() -> None:
    stated = resolve("yolox-nano")
    assert (stated.hash_state, resolve("yolox-nano", sha256=stated.sha256).hash_state) == ("stated", "verified")


@pytest.mark.parametrize(("name", "source"), [pytest.param(*each, id=each[0]) for each in catalogue()])
def test_known_weights_say_where_they_lie_and_what_they_are(name: str, source: Source) -> None:
    assert resolve(name) == source
    assert source.url.startswith("https://")
    assert source.licence in {"AGPL-3.0", "Apache-2.0"}
    assert source.about
    assert source.file_name.endswith((".pt", ".onnx"))


def test_weights_of_a_known_hash_have_their_licence() -> None:
    assert licence_of(resolve("yolox-tiny").sha256) == "Apache-2.0"
    assert licence_of(resolve("yolov5n").sha256) == "AGPL-3.0"
    assert licence_of("0" * 64) == ""


def test_the_command_lists_what_it_knows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "--list"]) == 0
    assert re.search(r"rtmdet-nano-person +Apache-2.0 +hash stated", capsys.readouterr().out)
    assert main(["fetch", "--list", "--json"]) == 0
    assert {each["name"]: each["hash"] for each in json.loads(capsys.readouterr().out)}["yolov5n"] == "verified"
