"""Whole configurations of Frigate: what edged reads from the edged.toml that is made, and what its comments say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.migrate.examples import MANY, OLD
from tests.migrate.migrated import MINIMAL, camera, migrated


def test_a_single_camera_needs_no_more_than_this(tmp_path: Path) -> None:
    made = migrated(tmp_path, MINIMAL)
    assert made.text.split("\n", 2)[2] == (
        "\n"
        "[model]\n"
        "# Each must be a class of the model: `edged check` names those that it does not know.\n"
        'classes = ["person"]\n'
        "\n"
        "[mqtt]\n"
        "# topic_prefix: edged has topics of its own (docs/messages.md), and Frigate's as well where Frigate is off:"
        ' [publish] frigate_prefix = "frigate"\n'
        'host = "localhost"\n'
        "\n"
        "[[camera]]\n"
        'name = "gate"\n'
        'source = "rtsp://10.0.0.9/stream"\n'
        "fps = 5.0\n"
    )


def test_many_cameras_with_go2rtc_and_credentials(tmp_path: Path) -> None:
    made = migrated(tmp_path, MANY)
    cameras = {each.name: each for each in made.settings.camera}
    assert {name: (each.source, each.username, each.fps) for name, each in cameras.items()} == {
        "front": ("rtsp://10.0.0.9:554/h264?channel=1&subtype=1", "admin", 5),
        "pool": ("http://10.0.0.10/flv?port=1935&stream=main&user=&password=", "", 5),
        "door-bell": ("rtsp://127.0.0.1:8554/door", "", 5),
        "drive": ("rtsp://10.0.0.12/sub", "", 10),
    }
    assert made.settings.model.classes == ("person", "car", "dog")
    assert made.has(
        "# objects.track: cameras differ in Frigate; edged looks for these classes on all of them.",
        "# front: person, car",
        "# pool: person, dog",
        "# camera 'Front' of Frigate: names are a-z 0-9 _ -",
        "# Frigate read this through go2rtc, stream Front",
        "# the first source of go2rtc's door is no address that edged reads: keep go2rtc running, or name the camera"
        " itself",
        "# ffmpeg.inputs: edged reads the stream for detect alone, 1 more in Frigate",
        "# onvif: edged moves no cameras",
    )


def test_no_secret_of_the_file_is_in_what_is_made(tmp_path: Path) -> None:
    made = migrated(tmp_path, MANY)
    assert MANY.lower().count("secret") == 9
    assert "secret" not in made.text.lower()


def test_it_is_said_where_each_password_goes(tmp_path: Path) -> None:
    made = migrated(tmp_path, MANY)
    assert made.has(
        "# password: it is not copied; give it as the systemd credential mqtt-password, as EDGED_MQTT__PASSWORD, or"
        " by:",
        '# password_file = "/etc/edged/mqtt-password"',
        "# password: it is not copied; give it as the systemd credential camera-front-password, as"
        " EDGED_CAMERA__FRONT__PASSWORD, or by:",
        '# password_file = "/etc/edged/front-password"',
        "# username: Frigate has it in FRIGATE_RTSP_USER; write it here, or set EDGED_CAMERA__DRIVE__USERNAME",
        "# password: Frigate has it in FRIGATE_RTSP_PASSWORD; give it as the systemd credential camera-drive-password,"
        " as EDGED_CAMERA__DRIVE__PASSWORD, or by:",
        '# source = "http://10.0.0.10/flv?port=1935&stream=main&user={username}&password={password}"',
        '# username = "bob"',
    )


def test_passwords_given_as_the_comments_say_reach_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGED_CAMERA__FRONT__PASSWORD", "front@Secret5")
    monkeypatch.setenv("EDGED_CAMERA__DRIVE__USERNAME", "viewer")
    monkeypatch.setenv("EDGED_CAMERA__DRIVE__PASSWORD", "pw")
    monkeypatch.setenv("EDGED_MQTT__PASSWORD", "pw")
    front, _, _, drive = migrated(tmp_path, MANY).settings.camera
    assert front.source_with_credentials() == ("rtsp://admin:front%40Secret5@10.0.0.9:554/h264?channel=1&subtype=1")
    assert drive.source_with_credentials() == "rtsp://viewer:pw@10.0.0.12/sub"


def test_a_camera_that_frigate_does_not_watch_becomes_comments(tmp_path: Path) -> None:
    made = migrated(tmp_path, MANY)
    assert made.has(
        "# camera shed is left out: Frigate has it switched off (enabled: false)",
        "# [[camera]]",
        '# name = "shed"',
        '# source = "rtsp://10.0.0.13/live"',
        '# username = "user"',
    )


@pytest.mark.parametrize(
    ("head", "keys", "names"),
    [
        pytest.param("", "", ["gate", "yard"], id="before-0.16-on"),
        pytest.param("version: 0.15-1", "", ["gate", "yard"], id="0.15-on"),
        pytest.param("version: 0.14", "", ["gate", "yard"], id="0.14-is-a-number"),
        pytest.param("version: 0.16-0", "", ["gate"], id="0.16-off"),
        pytest.param("version: 0.17-0", "", ["gate"], id="0.17-off"),
        pytest.param("version: 0.16-0\ndetect: {enabled: true}", "", ["gate", "yard"], id="0.16-all"),
        pytest.param("version: 0.16-0", "detect: {enabled: true}", ["gate", "yard"], id="0.16-one"),
        pytest.param("detect: {enabled: no}", "", ["gate"], id="none"),
        pytest.param("", "objects: {track: []}", ["gate"], id="nothing-to-track"),
    ],
)
def test_what_frigate_does_not_detect_on_is_left_out(tmp_path: Path, head: str, keys: str, names: list[str]) -> None:
    text = f"""
{head}
cameras:
  gate:
    ffmpeg: {{inputs: [{{path: "rtsp://10.0.0.9/s"}}]}}
    detect: {{enabled: true}}
  yard:
    ffmpeg: {{inputs: [{{path: "rtsp://10.0.0.8/s"}}]}}
    {keys}
"""
    assert [each.name for each in migrated(tmp_path, text).settings.camera] == names


def test_what_edged_does_not_have_is_said_with_what_to_do(tmp_path: Path) -> None:
    made = migrated(tmp_path, MANY)
    assert made.has(
        "# record: edged does not record; keep an NVR beside it",
        "# review: edged has no reviews; its events say what came, which zones it was in, and when it left",
        "# genai: edged tells classes apart and recognises nobody; a subscriber of its events may",
        "# go2rtc: edged reads each camera itself; keep go2rtc for others who watch",
        "# environment_vars: edged reads its own environment, as EDGED_MQTT__PASSWORD",
        '# ffmpeg.hwaccel_args: edged decodes without hardware; acceleration = "any" in [[camera]] lets FFmpeg use it',
        "# ffmpeg.retry_interval: edged has no options of FFmpeg; it finds transport and format itself",
        "# detect.stationary.interval: edged has nothing like it",
        "# snapshots.retain.objects: edged keeps pictures of all classes for max_days, and removes the oldest first",
        "# snapshots.quality: edged takes the best quality that is small enough for MQTT",
        "# logger.logs: edged has nothing like it",
        "# detectors: [engine] chooses where the model runs, by itself where it says nothing",
        "# model: the model is a bundle: `edged-provision fetch --list` names weights, `edged-provision import` reads"
        " yours",
    )
    assert made.settings.log.level == "debug"
    assert made.settings.track.stationary_s == 10.0
    snapshots = made.settings.snapshots
    assert (snapshots.enabled, snapshots.clean, snapshots.crop, snapshots.max_days) == (True, True, False, 14.0)


def test_keys_of_older_releases_are_read_or_named(tmp_path: Path) -> None:
    made = migrated(tmp_path, OLD)
    (yard,) = made.settings.camera
    assert (yard.source, yard.fps) == ("rtsp://10.0.0.9/b", 10)
    assert yard.zone[0].points == ((0.1, 0.1), (0.5, 0.1), (0.5, 1.0), (0.1, 1.0))
    assert yard.mask[0].labels == ("person",)
    assert made.settings.filter["person"].model_dump(exclude_unset=True) == {
        "min_score": 0.5,
        "confirm_score": 0.7,
        "min_area": 0.00542535,
        "max_area": 0.108507,
    }
    assert (made.settings.mqtt.host, made.settings.mqtt.port) == ("127.0.0.1", 1884)
    assert (made.settings.track.lost_s, made.settings.track.confirm_s) == (5.0, 0.4)
    for key in ("rtmp", "ui", "birdseye", "record", "live", "best_image_timeout", "webui_url", "timestamp_style"):
        assert f"# {key}: " in made.text
    assert made.has(
        "# detect.annotation_offset: it is for recordings",
        "# motion.mask: edged looks at the whole picture, with motion or without; a [[camera.mask]] is for objects that"
        " shall not count",
        "# motion: edged looks at every frame, with motion or without",
        "# filters: edged's filters, [filter.CLASS], hold in all zones",
    )


def test_frames_of_a_camera_alone_and_impossible_ones_become_remarks(tmp_path: Path) -> None:
    made = migrated(
        tmp_path,
        """
        detect: {fps: 10, max_disappeared: 100000, min_initialized: 5}
        cameras:
          gate:
            ffmpeg: {inputs: [{path: "rtsp://10.0.0.9/s"}]}
            detect: {fps: 2, min_initialized: 4}
        """,
    )
    assert made.settings.track.model_dump(exclude_unset=True) == {"confirm_s": 0.5}
    assert made.has("# detect.min_initialized: confirm_s in [track] holds for all cameras; of this one it was 2 s")
    assert "# detect.max_disappeared: lost_s = 10000: " in made.text


def test_a_key_that_nobody_knows_is_named_where_it_stands(tmp_path: Path) -> None:
    text = camera("sparkle: 1\nzones: {z: {glitter: 2, coordinates: '0,0,1,0,1,1'}}") + "    web_port: 5000\n"
    made = migrated(tmp_path, text)
    assert made.text.index("# web_port: edged has nothing like it") < made.text.index("[model]")
    block = made.block("gate")
    assert block.index("# sparkle: edged has nothing like it") < block.index("[[camera.zone]]") - 1
    assert block.index("# glitter: edged has nothing like it") == block.index("[[camera.zone]]") - 1


def test_anchors_and_merge_keys_are_followed(tmp_path: Path) -> None:
    text = """
        x-detect: &detect {fps: 7, width: 640, height: 480}
        cameras:
          gate:
            ffmpeg: {inputs: [{path: rtsp://10.0.0.9/s}]}
            detect: {<<: *detect, fps: 3}
          yard:
            ffmpeg: {inputs: [{path: rtsp://10.0.0.8/s}]}
            detect: *detect
    """
    assert [each.fps for each in migrated(tmp_path, text).settings.camera] == [3, 7]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(["Gate", "gate"], ["gate", "gate-2"], id="lower"),
        pytest.param(["stats", "Status"], ["stats-camera", "status-camera"], id="reserved"),
        pytest.param(["Küche", "a b"], ["k_che", "a_b"], id="letters"),
        pytest.param(["a-b", "a_b"], ["a-b", "a_b-2"], id="alike-in-the-environment"),
        pytest.param(["x" * 70, "x" * 65], ["x" * 64, "x" * 62 + "-2"], id="long"),
    ],
)
def test_names_are_those_of_topics_and_differ(tmp_path: Path, given: list[str], expected: list[str]) -> None:
    cameras = "".join(f'  "{name}":\n    ffmpeg: {{inputs: [{{path: "rtsp://10.0.0.9/s"}}]}}\n' for name in given)
    made = migrated(tmp_path, f"cameras:\n{cameras}")
    assert [each.name for each in made.settings.camera] == expected
    for name, new in zip(given, expected, strict=True):
        assert (f"# camera {name!r} of Frigate: names are a-z 0-9 _ -" in made.text) == (name != new)


HOSTILE_NAMES = r"""
    cameras:
      "a\n[mqtt]\x07\u2028\x7f":
        ffmpeg: {inputs: [{path: "rtsp://10.0.0.9/\x7fs"}]}
        "k\nx = 1": 1
"""


def test_nothing_in_a_name_can_end_a_comment(tmp_path: Path) -> None:
    made = migrated(tmp_path, HOSTILE_NAMES)
    (one,) = made.settings.camera
    assert (one.name, one.source) == ("a__mqtt____", "rtsp://10.0.0.9/\x7fs")
    assert made.has("# k x = 1: edged has nothing like it")
