"""Files that are no configuration of Frigate: one clear message, never a traceback, never a password."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edged.config import load_settings
from edged.core.errors import ConfigError, DataError
from edged.migrate.frigate import edged_toml
from edged.migrate.nodes import MAX_BYTES, MAX_NODES
from tests.config.files import write
from tests.migrate.examples import MANY, OLD
from tests.migrate.migrated import MINIMAL, camera, frigate_file, refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "expected keys such as mqtt: and cameras:, got nothing", id="empty"),
        pytest.param("- a\n- b", "got a list", id="list"),
        pytest.param("hello", "got a single value", id="word"),
        pytest.param("a: [", "config.yml:1: not YAML: expected the node content", id="cut"),
        pytest.param("a: b: c", "config.yml:1: not YAML: mapping values are not allowed here", id="colons"),
        pytest.param("a: 1\n---\nb: 2", "config.yml:2: a second document", id="two-documents"),
        pytest.param("a: 1\nb: 2\na: 3", "config.yml:3: a: is there already, in line 1", id="twice"),
        pytest.param("m: {a: 1,\n a: 2}", "config.yml:2: m.a: is there already, in line 1", id="twice-below"),
        pytest.param("a: !!python/object/apply:os.system [x]", "config.yml:1: a: the tag !!python/object", id="tag"),
        pytest.param("a: !!binary aGk=", "config.yml:1: a: the tag !!binary is not read", id="binary"),
        pytest.param("a: !!int x", "config.yml:1: a: this is no int that can be read", id="wrong-tag"),
        pytest.param("? [a]\n: 1", "config.yml:1: a list or keys in place of a name", id="list-as-key"),
        pytest.param("a: 1\n<<: 3", "config.yml:2: << expects keys", id="merge-of-a-number"),
        pytest.param("<<: [1]", "<< expects keys", id="merge-of-numbers"),
        pytest.param('a: "\\Uffffffff"', "it holds a character that is not allowed", id="no-character"),
        pytest.param('a: "\\ud800"', "config.yml:1: a: holds half a character", id="surrogate"),
        pytest.param("a: " + "9" * 5000, "config.yml:1: a: this is no int that can be read", id="digits"),
        pytest.param("cameras: 1", "config.yml:1: cameras: expected keys below it, got '1'", id="cameras"),
        pytest.param("cameras:", "cameras: expected one that edged can watch; there are none", id="no-cameras"),
        pytest.param("mqtt: {host: h}", "there are none", id="no-cameras-at-all"),
        pytest.param(b"\0" * 100, "it holds a character that is not allowed", id="zeros"),
        pytest.param(b"cameras:\n  k\xfcche: 1", "line 2 is not UTF-8: byte 0xfc", id="latin-1"),
        pytest.param(b"\x89PNG\r\n\x1a\n\xff\xff", "is not UTF-8", id="picture"),
    ],
)
def test_what_is_no_configuration_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    assert message in refused(tmp_path, text)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            "detect: {fps: fast}",
            "config.yml:10: cameras.gate.detect.fps: expected a number from 0.01 to 1000, got 'fast'",
        ),
        ("detect: {fps: 0}", "detect.fps: expected a number from 0.01 to 1000, got '0'"),
        ("detect: {fps: .inf}", "detect.fps: expected a number from 0.01 to 1000, got '.inf'"),
        ("detect: {fps: 100000}", "detect.fps: expected a number from 0.01 to 1000, got '100000'"),
        ("detect: {width: 1e-200}", "detect.width: expected a number from 1 to 65535, got '1e-200'"),
        ("detect: {fps: true}", "detect.fps: expected a number from 0.01 to 1000, got 'true'"),
        ("detect: {width: [1]}", "detect.width: expected a number from 1 to 65535, got a list"),
        ("detect: 5", "cameras.gate.detect: expected keys below it, got '5'"),
        ("enabled: maybe", "cameras.gate.enabled: expected true or false, got 'maybe'"),
        ("ffmpeg: {inputs: {path: x}}", "cameras.gate.ffmpeg.inputs: expected a list, got keys below it"),
        ("ffmpeg: {inputs: [x]}", "cameras.gate.ffmpeg.inputs[0]: expected keys below it, got 'x'"),
        ("ffmpeg: {inputs: [{path: [x]}]}", "inputs[0].path: expected text, got a list"),
        ("zones: [1]", "cameras.gate.zones: expected keys below it, got a list"),
        ("zones: {z: {coordinates: {a: 1}}}", "zones.z.coordinates: expected coordinates: x1,y1,x2,y2,..., got keys"),
        ("zones: {z: {coordinates: [[0, 0]]}}", "coordinates[0]: expected a number, or a text of numbers, got a list"),
        ("zones: {z: {coordinates: '0,0,1,0,1,1', objects: {a: 1}}}", "zones.z.objects: expected text, got keys"),
        (
            "zones: {z: {coordinates: '0,0,1,0,1,1', inertia: x}}",
            "zones.z.inertia: expected a number from 0 to 1e+06, got 'x'",
        ),
        ("objects: {track: [[a]]}", "objects.track: expected a list of names, got a list"),
        ("objects: {filters: {person: {min_area: big}}}", "filters.person.min_area: expected a number, got 'big'"),
        ("objects: {mask: {a: 1}}", "objects.mask.a: expected keys below it, got '1'"),
        ("objects: {mask: [{a: 1}]}", "objects.mask[0]: expected coordinates"),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_line(tmp_path: Path, keys: str, message: str) -> None:
    text = MINIMAL[: MINIMAL.index("        detect:")] if keys.startswith("detect") else MINIMAL
    text = text[: text.index("        ffmpeg:")] if keys.startswith("ffmpeg") else text
    assert message in refused(tmp_path, f"{text}        {keys}\n")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("mqtt: {password: *Hidden1}", id="alias"),
        pytest.param("mqtt: {password: !Hidden1}", id="tag"),
        pytest.param("mqtt: {password: !Hid!den1}", id="tag-handle"),
        pytest.param("mqtt: {password: @Hidden1}", id="at"),
        pytest.param("mqtt: {password: [Hidden1}", id="bracket"),
        pytest.param('mqtt: {password: "Hidden1}', id="quote"),
        pytest.param("mqtt:\n  password: Hidden1: x", id="colon"),
        pytest.param("mqtt: {password: {Hidden1}}\ncameras: {a: {ffmpeg: {inputs: [{path: x}]}}}", id="braces"),
        pytest.param("cameras: {a: {ffmpeg: {inputs: ['rtsp://a:Hidden1@h/s']}}}", id="address"),
        pytest.param(
            "go2rtc: {streams: 'rtsp://a:Hidden1@h/s?password=Hidden2'}\n"
            "cameras: {a: {ffmpeg: {inputs: [{path: 'rtsp://127.0.0.1:8554/a'}]}}}",
            id="streams",
        ),
    ],
)
def test_a_message_never_shows_a_password(tmp_path: Path, text: str) -> None:
    assert "Hid" not in refused(tmp_path, text)


def test_large_files_are_not_read(tmp_path: Path) -> None:
    path = frigate_file(tmp_path, "a: 1")
    with path.open("r+b") as file:
        file.truncate(100 << 20)
    with pytest.raises(DataError, match=f"larger than {MAX_BYTES} bytes"):
        edged_toml(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)),
            f"more than {MAX_NODES} values",
            id="aliases",
        ),
        pytest.param(
            "a0: &a0 {}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 12)),
            f"more than {MAX_NODES} values",
            id="merges",
        ),
        pytest.param("a: [" + "x," * (MAX_NODES + 1) + "]", f"more than {MAX_NODES} values", id="values"),
        pytest.param("a: &a [*a]", "more than 30 deep", id="in-itself"),
        pytest.param("a: &a {<<: *a}", "more than 30 deep", id="merged-into-itself"),
        pytest.param("[" * 100_000, "more than 30 deep", id="brackets"),
        pytest.param("a: " + "{a: " * 31 + "1" + "}" * 31, "more than 30 deep", id="keys"),
    ],
)
def test_bombs_are_refused(tmp_path: Path, text: str, message: str) -> None:
    assert message in refused(tmp_path, text)


def test_a_file_that_cannot_be_read_is_a_configuration_error(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.yml", tmp_path):
        with pytest.raises(ConfigError, match=r"cannot be read: .*; name Frigate's config.yml"):
            edged_toml(path)


def test_no_camera_left_names_each_reason(tmp_path: Path) -> None:
    text = "cameras:\n" + "".join(f"  c{n}: {{enabled: false}}\n" for n in range(7))
    message = refused(tmp_path, text)
    assert "c0: Frigate has it switched off (enabled: false); c1: " in message and "; 2 more; " in message


# Values of every type in place of some of a good file: what comes out is a message, or a file that edged loads.
_SINGLE = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.sampled_from(
        ["", "0,0,1,0,1,1", "0,0,9,0,9,9", "-1,0.5,1.0001,0,1,1", "rtsp://a:b@h/s", "0.14", "{FRIGATE_X}"]
    )
    | st.text(max_size=8)
)
_VALUES = _SINGLE | st.lists(_SINGLE, max_size=3) | st.dictionaries(st.text(max_size=5), _SINGLE, max_size=3)
_WHOLE: list[dict[str, Any]] = [yaml.safe_load(text) for text in (MANY, OLD, MINIMAL)]


def places_in(tree: object) -> list[tuple[Any, Any]]:
    """Each dict or list in a tree, with each of its keys."""
    keys: list[Any] = list(tree) if isinstance(tree, dict) else list(range(len(tree))) if isinstance(tree, list) else []
    below = [place for key in keys for place in places_in(tree[key])]  # type: ignore[index]
    return [(tree, key) for key in keys] + below


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(_WHOLE), st.lists(st.tuples(st.integers(0, 10**6), _VALUES), min_size=1, max_size=3))
def test_whatever_the_file_holds_edged_loads_what_is_made(
    tmp_path: Path, whole: dict[str, Any], changes: list[tuple[int, object]]
) -> None:
    tree = deepcopy(whole)
    for number, value in changes:
        places = places_in(tree)
        inside, key = places[number % len(places)]
        inside[key] = value
    path = frigate_file(tmp_path, yaml.safe_dump(tree, allow_unicode=True))
    try:
        text, cameras = edged_toml(path)
    except DataError as exc:
        assert "config.yml" in str(exc)  # noqa: PT017 - either outcome is right
    else:
        assert len(load_settings(write(tmp_path, text)).camera) == cameras


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet="ab:{}[],-&*!|>'\"#%@\n\t \\<0.", max_size=60) | st.binary(max_size=40))
def test_noise_is_refused(tmp_path: Path, content: str | bytes) -> None:
    path = frigate_file(tmp_path, content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError):
        edged_toml(path)


def test_a_camera_with_every_kind_of_trouble_still_loads(tmp_path: Path) -> None:
    zones = "zones: {a: {coordinates: '0,0,1,1,1,0,0,1'}, b: {}}"
    text = camera(f"{zones}\nobjects: {{mask: '1,2,3', filters: {{person: {{min_score: 9}}}}}}")
    made, cameras = edged_toml(frigate_file(tmp_path, text))
    assert cameras == 1
    assert load_settings(write(tmp_path, made)).camera[0].zone == ()
