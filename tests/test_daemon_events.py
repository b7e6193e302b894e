"""Events of the real daemon at a real broker: every start has one end, through kill -9, a stop and a removed camera."""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.boxes import Box, run_edged, write_video
from tests.brokers import Broker, Subscriber, wait_for
from tests.publish.test_payload import validate

TRACK = "[track]\nconfirm_s = 0.1\nlost_s = 2.0\nstationary_s = 1.0"
EVENTS = "edged/box/gate/events"


def told(seen: Subscriber) -> list[dict[str, Any]]:
    return [json.loads(payload) for payload in seen.payloads(EVENTS)]


def of_kind(seen: Subscriber, kind: str) -> list[dict[str, Any]]:
    return [each for each in told(seen) if each["type"] == kind]


def a_box(folder: Path, port: int, **keys: object) -> Box:
    video = write_video(folder / "a.avi", frames=40, fps=20.0)
    return Box(folder, port, cameras={"gate": {"source": str(video), **keys}}, extra=TRACK)


def test_event_that_a_kill_left_open_is_ended_and_continued_by_the_next_run(broker: Broker, tmp_path: Path) -> None:
    box = a_box(tmp_path, broker.port)
    with Subscriber(broker.port) as seen, box:
        wait_for(lambda: len(of_kind(seen, "start")) == 2, timeout_s=30, what="two squares")
        wait_for(lambda: len([each for each in told(seen) if each["stationary_since"]]) >= 2, what="they stand still")
        first = {each["label"]: each["event"] for each in of_kind(seen, "start")}
        box.signal(signal.SIGKILL)
        box.wait()
        box.start()
        wait_for(lambda: len(of_kind(seen, "start")) == 4, timeout_s=30, what="they are seen again")
        ends = of_kind(seen, "end")
        assert {each["event"] for each in ends} == set(first.values())
        assert {tuple(each["because"]) for each in ends} == {("restart",)}
        again = {each["label"]: each["continues"] for each in of_kind(seen, "start")[2:]}
        assert again == first, "the same squares are no news"
        assert box.stop() == 0
        wait_for(lambda: len(of_kind(seen, "end")) == 4, what="all ends")
        assert [each["because"] for each in of_kind(seen, "end")[2:]] == [["shutdown"]] * 2
        for payload in seen.payloads(EVENTS):
            validate("events", payload)
        objects = validate("objects", seen.last("edged/box/gate/objects"))
        assert not objects["available"]
    assert "Traceback" not in box.log()


def test_detections_name_their_event(broker: Broker, tmp_path: Path) -> None:
    box = a_box(tmp_path, broker.port)
    box.extra += '\n[publish]\nfrigate_prefix = "frigate"'
    with Subscriber(broker.port) as seen, box:
        wait_for(lambda: len(of_kind(seen, "start")) == 2, timeout_s=30, what="two squares")
        wait_for(lambda: seen.last("frigate/gate/red") == b"1", what="Frigate's topics")
        before = len(seen.payloads("edged/box/gate/detections"))
        wait_for(lambda: len(seen.payloads("edged/box/gate/detections")) > before + 2)
        latest = validate("detections", seen.payloads("edged/box/gate/detections")[-1])
        tracks = {each["label"]: each["track"] for each in latest["detections"]}
        assert tracks == {each["label"]: each["event"] for each in of_kind(seen, "start")}


def test_reload_moves_a_zone_under_objects_that_stay_and_a_removed_camera_ends_them(
    broker: Broker, tmp_path: Path
) -> None:
    box = a_box(tmp_path, broker.port)
    with Subscriber(broker.port) as seen, box:
        wait_for(lambda: len(of_kind(seen, "start")) == 2, timeout_s=30, what="two squares")
        zone = '[[camera.zone]]\nname = "all"\npoints = [[0, 0], [1, 0], [1, 1], [0, 1]]\n'
        box.config.write_text(box.write().read_text() + zone)
        box.signal(signal.SIGHUP)
        wait_for(
            lambda: len([each for each in of_kind(seen, "update") if each["zones"]]) >= 2, what="both are in the zone"
        )
        objects = json.loads(seen.last("edged/box/gate/objects"))
        wait_for(lambda: json.loads(seen.last("edged/box/gate/objects"))["zones"]["all"], what=str(objects))
        assert len(of_kind(seen, "start")) == 2, "identities stay"
        box.cameras["yard"] = box.cameras.pop("gate")
        box.write()
        box.signal(signal.SIGHUP)
        wait_for(lambda: len(of_kind(seen, "end")) == 2, what="the ends")
        assert {each["because"][0] for each in of_kind(seen, "end")} == {"reconfigured"}


@pytest.mark.parametrize(
    ("area", "said"),
    [
        pytest.param(
            'zone]]\nname = "drive"\npoints = [[0, 0], [1, 1], [1, 0], [0, 1]]',
            "[[camera]] number 1 zone number 1 points: it crosses itself",
            id="bow tie",
        ),
        pytest.param(
            'zone]]\nname = "drive"\npoints = [[0, 0], [640, 0], [640, 360]]',
            "point 2 is [640, 0]: expected fractions",
            id="pixels",
        ),
        pytest.param(
            'zone]]\nname = "drive"\npoint = [[0, 0], [1, 0], [1, 1]]',
            'zone number 1 point: unknown key; did you mean "points"?',
            id="misspelt",
        ),
        pytest.param(
            'zone]]\nname = "drive"\npoints = [[0, 0], [1, 0], [1, 1]]\nlabels = ["rad"]',
            "zone drive of camera gate: labels: 'rad' is not a class of squares; did you mean 'red'?",
            id="label",
        ),
        pytest.param('line]]\nname = "gate"\npoints = [[0, 0]]', "expected 2 points, got 1", id="line of one point"),
        pytest.param(
            'zone]]\nname = "a"\npoints = [[0, 0], [1, 0], [1, 1]]\n[[camera.zone]]\nname = "a"\n'
            "points = [[0, 0], [1, 0], [1, 1]]",
            "[[camera.zone]] name: 'a' is taken by the zone at line",
            id="two of one name",
        ),
    ],
)
def test_geometry_that_cannot_be_is_refused_with_its_line(tmp_path: Path, area: str, said: str) -> None:
    box = a_box(tmp_path, 1)
    text = box.write().read_text() + f"\n\n[[camera.{area}\n"
    box.config.write_text(text)
    first = text[: text.index("[[camera.")].count("\n") + 1
    result = run_edged("check", "--config", box.config)
    assert result.returncode == 78
    (line,) = [line for line in result.stderr.splitlines() + result.stdout.splitlines() if said in line]
    if "labels" not in said:
        number = int(line.split("box.toml:")[1].split(":")[0])
        assert first < number <= text.count("\n"), "the line of the area, not of the camera"


def test_filter_that_lets_nothing_pass_is_refused(tmp_path: Path) -> None:
    box = a_box(tmp_path, 1)
    box.extra += "\n[filter.red]\nmin_area = 0.5\nmax_area = 0.1"
    result = run_edged("check", "--config", box.write())
    assert result.returncode == 78
    assert "min_area 0.5 is not below max_area 0.1" in result.stderr + result.stdout


def test_best_picture_of_an_object_is_shown_stored_and_named_by_its_event(broker: Broker, tmp_path: Path) -> None:
    box = a_box(tmp_path, broker.port)
    with Subscriber(broker.port) as seen, box:
        wait_for(
            lambda: len([each for each in of_kind(seen, "update") if each["snapshot"]]) == 2, timeout_s=30, what="both"
        )
        pictured = {each["label"]: each for each in of_kind(seen, "update") if each["snapshot"]}
        assert {each["snapshot"]["state"] for each in pictured.values()} == {"stored"}
        for label, event in pictured.items():
            shown = seen.last(f"edged/box/gate/snapshot/{label}")
            assert hashlib.sha256(shown).hexdigest() == event["snapshot"]["sha256"]
            (stored,) = (tmp_path / "state" / "edged" / "box" / "snapshots").glob(f"gate/*/{event['event']}.jpg")
            assert stored.read_bytes() == shown
            image = np.asarray(cv2.imdecode(np.frombuffer(shown, np.uint8), cv2.IMREAD_COLOR))
            x1, y1, x2, y2 = (round(side) for side in event["snapshot"]["box"])
            colour = image[(y1 + y2) // 2, (x1 + x2) // 2].astype(int)
            assert colour.argmax() == {"red": 2, "blue": 0}[label], "the picture shows the object that it names"
        box.cameras["yard"] = box.cameras.pop("gate")
        box.write()
        box.signal(signal.SIGHUP)
        wait_for(lambda: not seen.last("edged/box/gate/snapshot/red"), what="the picture of a removed camera is gone")


def test_snapshot_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    box = a_box(tmp_path, 1)
    box.extra += f"\n[snapshots]\ndirectory = {json.dumps(str(tmp_path / 'file' / 'below'))}"
    result = run_edged("run", "--config", box.write())
    assert result.returncode == 78
    assert "file/below: Not a directory; give it to this user" in result.stderr
