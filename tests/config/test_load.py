"""A wrong configuration is told precisely: file, line, key, value, nearest valid key."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from pydantic import BaseModel

from edged.config import Settings, load_settings
from edged.config.watching import Filter, Line, Mask, Zone
from edged.core.errors import ConfigError
from provisioning.recipe.settings import ProvisionSettings
from tests.config.files import MINIMAL, refused, write

SECURE = MINIMAL.replace("gate.mp4", "rtsps://10.0.0.9/s")


def test_load_one_camera_is_enough(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, MINIMAL))
    assert settings.camera[0].name == "gate"
    assert settings.mqtt.host == "localhost"
    assert settings.model.confidence == 0.25


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_load_a_file_that_a_windows_editor_saved(tmp_path: Path, encoding: str) -> None:
    text = MINIMAL.replace("gate.mp4", "Höfe.mp4").replace("\n", "\r\n")
    assert load_settings(write(tmp_path, text.encode(encoding))).camera[0].source == "Höfe.mp4"


def test_load_without_a_file_names_the_path_and_the_example(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"edged\.toml: not found; copy the commented example"):
        load_settings(tmp_path / "edged.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("[mqtt\n", "edged.toml: not valid TOML: ", id="syntax"),
        pytest.param("[mqtt]\nport = = 3\n", "(at line 2, column 8)", id="syntax-position"),
        pytest.param(b"[mqtt]\nhost = '\xff'\n", "edged.toml: line 2 is not UTF-8: byte 0xff", id="not-utf8"),
        pytest.param("", "edged.toml: no [[camera]], nothing to do", id="empty"),
        pytest.param("x = " + "[" * 5000 + "]" * 5000, "tables or lists in each other, deeper than", id="deep-lists"),
        pytest.param("x = " + "{a=" * 3000 + "1" + "}" * 3000, "tables or lists in each other", id="deep-tables"),
        pytest.param(f"[{'.'.join('a' * 5000)}]\n", "tables or lists in each other", id="deep-header"),
        pytest.param(f"[mqtt]\nport = {'9' * 5000}\n", "not valid TOML: a number has too many digits", id="digits"),
        pytest.param(f"{MINIMAL}max_pixels = {'9' * 400}\n", f"got {'9' * 100}...", id="long-value"),
        pytest.param(
            f"{MINIMAL}fps = 2026-01-02\n",
            "4: [[camera]] number 1 fps: input should be a valid number, got 2026-01-02",
            id="date",
        ),
        pytest.param(f"{MINIMAL}password = 84736251\n", "1 password: expected text in quotes", id="unquoted-password"),
        pytest.param(f'[model]\nclasses = "person"\n{MINIMAL}', "2: [model] classes: expected a list, as", id="list"),
        pytest.param(f"[model]\nbundle = true\n{MINIMAL}", "bundle: expected a path in quotes, got true", id="path"),
        pytest.param(
            f"[publish]\nqos = true\n{MINIMAL}", "2: [publish] qos: expected a number, got true", id="qos-true"
        ),
        pytest.param(
            MINIMAL.replace("gate.mp4", "ffmpeg:rtsp://v:hunter2@h/s"),
            "3: [[camera]] number 1 source: write the address alone, without ffmpeg: in front of it",
            id="wrapped",
        ),
        pytest.param("x = 1\n" * 200_000, "larger than 1048576 bytes", id="huge"),
        pytest.param(
            MINIMAL + '[publish]\nfrigate_prefix = "edged/frigate"\n',
            'edged.toml:5: [publish] frigate_prefix: edged\'s own topics begin with "edged/"; name another',
            id="prefix-of-another",
        ),
        pytest.param(
            MINIMAL + '[publish]\nfrigate_prefix = "fri#gate"\n',
            "edged.toml:5: [publish] frigate_prefix: ",
            id="no-prefix",
        ),
        pytest.param(
            MINIMAL + "fsp = 5\n", 'edged.toml:4: [[camera]] number 1 fsp: unknown key; did you mean "fps"?', id="key"
        ),
        pytest.param(
            MINIMAL + "literalx = 1\n", "4: [[camera]] number 1 literalx: unknown key; allowed", id="literalx"
        ),
        pytest.param("[mqtt]\nfunction = 1\n" + MINIMAL, "2: [mqtt] function: unknown key; allowed", id="function"),
        pytest.param(MINIMAL + "udp = true\n", 'udp: unknown key; did you mean "transport"? It is "auto"', id="udp"),
        pytest.param(MINIMAL + 'transport = "udp"\n', "transport is of rtsp:// and rtsps://", id="transport"),
        pytest.param(MINIMAL + "verify = false\n", "verify is about certificates of https://", id="verify"),
        pytest.param(MINIMAL + 'ca_file = "x"\n', "ca_file is about certificates of https:// and", id="ca-file"),
        pytest.param(SECURE + 'transport = "udp"\n', "but rtsps:// comes over TCP; remove it", id="rtsps"),
        pytest.param(SECURE + 'verify = false\nca_file = "x"\n', "verify = false takes any certificate, so", id="any"),
        pytest.param(MINIMAL + "enabled = false\n", "4: [[camera]] enabled: no camera is enabled", id="enabled"),
        pytest.param(MINIMAL + 'fourcc = "MJPG"\n', 'fourcc: unknown key; did you mean "pixel_format"?', id="fourcc"),
        pytest.param(MINIMAL + "width = 640\n", 'width: unknown key; did you mean "size"? It is width x', id="width"),
        pytest.param(MINIMAL + "framerate = 30\n", 'did you mean "fps", the most that are taken, or "rate"', id="rate"),
        pytest.param(MINIMAL + 'url = "x"\n', 'url: unknown key; did you mean "source"?', id="url"),
        pytest.param("[mqtt]\nqos = 1\n" + MINIMAL, "[mqtt] qos: unknown key; it stands in [publish]", id="qos"),
        pytest.param(MINIMAL.replace("[[camera]]", "[camera]"), "1: [camera]: write [[camera]], in two br", id="table"),
        pytest.param('[camera.gate]\nsource = "x"\n', '[[camera]] and below it name = "gate"; once', id="named-table"),
        pytest.param(
            '[cameras.gate]\nsource = "x"\n', "[cameras]: unknown key; did you mean [[camera]]?", id="cameras"
        ),
        pytest.param('camera = "x"\n', ":1: camera: write [[camera]], and its name and source below", id="camera-key"),
        pytest.param('[[mqtt]]\nhost = "h"\n' + MINIMAL, ":1: [[mqtt]]: write [mqtt], in one bracket", id="array"),
        pytest.param('mqtt = "h"\n' + MINIMAL, ":1: mqtt: write [mqtt], and its keys below it", id="section-key"),
        pytest.param("[mqt]\n" + MINIMAL, 'edged.toml:1: [mqt]: unknown key; did you mean "mqtt"?', id="section"),
        pytest.param("[log]\nfile = 1\n" + MINIMAL, "edged.toml:2: [log] file: unknown key; allowed here: ", id="far"),
        pytest.param(
            "[mqtt]\n# a comment\nport = 70000\n" + MINIMAL,
            "edged.toml:3: [mqtt] port: input should be less than or equal to 65535, got 70000",
            id="port",
        ),
        pytest.param('[mqtt]\nport = "x"\n' + MINIMAL, "[mqtt] port: input should be a valid integer", id="type"),
        pytest.param(MINIMAL + "fps = nan\n", "[[camera]] number 1 fps: input should be a finite number", id="nan"),
        pytest.param(MINIMAL + "fps = -1\n", "fps: input should be greater than or equal to 0, got -1", id="negative"),
        pytest.param(MINIMAL + "fps = true\n", "fps: expected a number, got true/false", id="bool"),
        pytest.param(MINIMAL + "rotate = 45\n", "rotate: input should be 0, 90, 180 or 270, got 45", id="rotate"),
        pytest.param('[[camera]]\nname = "a"\n', "edged.toml:1: [[camera]] number 1 source: missing", id="missing"),
        pytest.param(
            '[[camera]]\nname = "a/b"\nsource = "x"\n', "camera name 'a/b' must be 1 to 64 of a-z", id="topic"
        ),
        pytest.param('[[camera]]\nname = "stats"\nsource = "x"\n', "no camera may be called 'stats'", id="reserved"),
        pytest.param(
            MINIMAL + MINIMAL,
            "edged.toml:5: [[camera]] name: 'gate' is taken by the camera at line 2",
            id="duplicate",
        ),
        pytest.param(
            '[mqtt]\ntls = true\ncert_file = "c"\n' + MINIMAL, "cert_file and key_file go together", id="pair"
        ),
        pytest.param('[mqtt]\nhost = "far.example"\n' + MINIMAL, "say tls = true (recommended), or", id="plain"),
        pytest.param(
            '[mqtt]\nhost = "127.example"\n' + MINIMAL, "is another machine", id="plain, by a name like an address"
        ),
        pytest.param(
            '[mqtt]\nhost = "mqtt://localhost:1884"\n' + MINIMAL,
            'toml:2: [mqtt] host: mqtt:// does not belong there: say host = "localhost", port = 1884',
            id="broker as an address of the web",
        ),
        pytest.param('[mqtt]\nhost = "u:p@x/y z"\n' + MINIMAL, 'password: say host = "x"', id="broker with password"),
        pytest.param('[mqtt]\nhost = ""\n' + MINIMAL, "address is expected", id="no broker"),
        pytest.param(
            f"[publish]\noutbox_max_mb = {2 << 30}\n" + MINIMAL,
            "2: [publish] outbox_max_mb: input should be less than or equal to 1073741824",
            id="outbox beyond all disks",
        ),
        pytest.param(
            "[publish]\noutbox_max_days = 1e-9\n" + MINIMAL,
            "2: [publish] outbox_max_days: input should be greater than or equal to 0.001, got 1e-09",
            id="outbox of no time",
        ),
        pytest.param(
            f'[mqtt]\nclient_id = "{"x" * 200}"\n' + MINIMAL,
            "2: [mqtt] client_id: string should have at most 128 characters",
            id="long-client",
        ),
        pytest.param(
            '[mqtt]\nca_file = "a\\u0000b"\n' + MINIMAL,
            "2: [mqtt] ca_file: expected text without NUL",
            id="nul-in-path",
        ),
        pytest.param(
            '[publish]\noutbox = "a\\u0000b"\n' + MINIMAL, "2: [publish] outbox: expected text without", id="nul-outbox"
        ),
        pytest.param(
            MINIMAL.replace("gate.mp4", " "), "3: [[camera]] number 1 source: source must be a path", id="blank-source"
        ),
        pytest.param(
            MINIMAL.replace("gate.mp4", "x" * 4097),
            "3: [[camera]] number 1 source: string should have",
            id="long-source",
        ),
        pytest.param(MINIMAL + "rotate = false\n", "rotate: expected a number, got true/false", id="rotate-bool"),
        pytest.param("[mqtt]\ninsecure = 1\n" + MINIMAL, "[mqtt] insecure: expected true or false", id="flag"),
        pytest.param(
            '[[camera]]\nname = "a"\nsource = "ftp://joe:hunter2@h/x"\n',
            "edged.toml:3: [[camera]] number 1 source: scheme ftp:// is not supported; use a path, folder, glob,",
            id="scheme",
        ),
        pytest.param(
            "[engine]\ndevice = []\n" + MINIMAL, '[engine] device: expected "auto", the index or', id="no-gpu"
        ),
        pytest.param(
            "[engine]\ndevice = [0, 1]\n" + MINIMAL, "in quotes, or a list of such, got [0, 1]", id="gpu-numbers"
        ),
        pytest.param(
            '[engine]\ndevice = ["0", "0"]\n' + MINIMAL, "a GPU is named twice, got ['0', '0']", id="gpu-twice"
        ),
        pytest.param(
            '[engine]\ndevice = ["GPU-aa", "gpu-AA"]\n' + MINIMAL, "edged.toml:2: [engine] device: a GPU is", id="uuid"
        ),
        pytest.param(
            '[engine]\ndevice = ["0", "auto"]\n' + MINIMAL, '[engine] device: "auto" is one GPU: name', id="gpu-auto"
        ),
        pytest.param("[model]\nconfidence = 1.5\n" + MINIMAL, "edged.toml:2: [model] confidence: input sh", id="range"),
    ],
)
def test_load_refuses(tmp_path: Path, text: str | bytes, message: str) -> None:
    assert message in refused(tmp_path, text)


def test_load_reports_every_problem_at_once(tmp_path: Path) -> None:
    lines = refused(tmp_path, "[mqtt]\nport = 0\nhots = 1\n" + MINIMAL + "fps = -1\n").splitlines()
    assert len(lines) == 3


def test_load_never_shows_a_password(tmp_path: Path) -> None:
    text = '[mqtt]\npassword = ["hunter2"]\n[[camera]]\nname = "a"\nsource = ["rtsp://u:hunter2@h/"]\n'
    assert "hunter2" not in refused(tmp_path, text)
    settings = load_settings(write(tmp_path, '[mqtt]\nusername = "u"\npassword = "hunter2"\n' + MINIMAL))
    assert "hunter2" not in repr(settings) + str(settings)
    assert settings.mqtt.password.get_secret_value() == "hunter2"


def test_load_broker_address_in_brackets_is_the_address(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, '[mqtt]\nhost = "[::1]"\n' + MINIMAL))
    assert settings.mqtt.host == "::1"
    assert settings.mqtt.is_loopback and not settings.mqtt.uses_tls


def test_load_reads_the_password_from_a_systemd_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mqtt-password").write_text("from-credential\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    settings = load_settings(write(tmp_path, '[mqtt]\nusername = "u"\n' + MINIMAL))
    assert settings.mqtt.password.get_secret_value() == "from-credential"


def test_load_warns_of_a_password_that_everyone_may_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, '[mqtt]\npassword = "x"\nusername = "u"\n' + MINIMAL)
    with caplog.at_level(logging.WARNING):
        load_settings(path)
        assert not caplog.records
        path.chmod(0o644)
        load_settings(path)
    assert f"{path}:2 holds a password and everyone may read the file; chmod 640" in caplog.text


def test_load_warns_of_a_password_in_a_url(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = '[[camera]]\nname = "a"\nsource = "rtsp://me:hunter2@h/s"\n'
    with caplog.at_level(logging.WARNING):
        load_settings(write(tmp_path, text))
    assert "edged.toml:3: [[camera]] number 1 source: a password in the source; give it by the keys" in caplog.text
    assert "hunter2" not in caplog.text


def test_camera_credentials_go_into_the_url_escaped(tmp_path: Path) -> None:
    text = '[[camera]]\nname = "a"\nsource = "rtsp://10.0.0.9:554/s?x=1"\nusername = "me"\npassword = "p@ss/w"\n'
    camera = load_settings(write(tmp_path, text)).camera[0]
    assert camera.source_with_credentials() == "rtsp://me:p%40ss%2Fw@10.0.0.9:554/s?x=1"


DEVICE = MINIMAL.replace("gate.mp4", "/dev/v4l/by-id/usb-0")
NO_DEVICE = "it is for a video device (/dev/video0, or its number), and source is 'gate.mp4'; remove it"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(MINIMAL + 'size = "640x480"\n', f"toml:4: [[camera]] number 1 size: {NO_DEVICE}", id="size"),
        pytest.param(MINIMAL + 'pixel_format = "nv12"\n', f"toml:4: [[camera]] number 1 pixel_format: {NO_DEVICE}",
                     id="format"),
        pytest.param(MINIMAL + "fps = 1\nrate = 15\n", f"toml:5: [[camera]] number 1 rate: {NO_DEVICE}", id="rate"),
        pytest.param(MINIMAL.replace("gate.mp4", "gst:v4l2src ! appsink") + "rate = 15\n",
                     "source is 'gst:v4l2src ! appsink'; remove it, and say it in the pipeline", id="pipeline"),
        pytest.param(SECURE + "rate = 15\n", "source is 'rtsps://10.0.0.9/s'; remove it", id="stream"),
        pytest.param(DEVICE + 'size = "640*480"\n', 'size must be width x height, as "1280x720", got \'640*480\'',
                     id="no-size"),
        pytest.param(DEVICE + 'pixel_format = "xyz"\n', "'rgb565' or 'grey', got 'xyz'", id="no-format"),
        pytest.param(MINIMAL.replace("gate.mp4", "test:") + 'decode = "keyframes"\n',
                     "decode: it is for streams, video files and video devices, and source is 'test:'", id="decode"),
        pytest.param(MINIMAL.replace("gate.mp4", "a/*.jpg") + "fast_decode = true\n", "1 fast_decode: it", id="glob"),
        pytest.param(MINIMAL.replace("gate.mp4", "a.PNG") + "fast_decode = true\n", "1 fast_decode: it", id="picture"),
        pytest.param(MINIMAL.replace("gate.mp4", "/tmp") + 'deinterlace = "off"\n', "1 deinterlace: it", id="folder"),
    ],
)  # fmt: skip
def test_load_refuses_keys_that_the_source_does_not_heed(tmp_path: Path, text: str, message: str) -> None:
    assert message in refused(tmp_path, text)


@pytest.mark.parametrize(
    "source", [pytest.param("0", id="number"), "/dev/video7", "/dev/v4l/by-id/x", pytest.param("null", id="link")]
)
def test_load_takes_keys_of_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "null").symlink_to("/dev/null")
    keys = 'size = "640x480"\npixel_format = "MJPG"\nrate = 15\ndecode = "keyframes"\nfast_decode = true\n'
    camera = load_settings(write(tmp_path, MINIMAL.replace("gate.mp4", source) + keys)).camera[0]
    assert (camera.size_wh, camera.pixel_format, camera.rate) == ((640, 480), "mjpeg", 15)


def test_example_file_documents_every_key_and_loads() -> None:
    example = Path(__file__).parents[2] / "etc" / "edged.toml"
    text = example.read_text()
    settings = load_settings(example)
    assert settings.camera
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if name in {"camera", "filter", "provision"}:
            continue
        assert section is not None
        assert f"[{name}]" in text
        body = text.split(f"[{name}]", 1)[1].split("\n[", 1)[0]
        for key in section.model_fields:
            assert f"\n{key} = " in body or f"\n# {key} = " in body, f"[{name}] {key} is not in etc/edged.toml"
    areas: dict[str, type[BaseModel]] = {
        "[filter.default]": Filter,
        "[[camera.zone]]": Zone,
        "[[camera.line]]": Line,
        "[[camera.mask]]": Mask,
    }
    for head, model in areas.items():
        body = text.split(head, 1)[1].split("\n# [[", 1)[0]
        for key in model.model_fields:
            assert f"\n# {key} = " in body, f"{head} {key} is not in etc/edged.toml"
    provision = text.split("\n[provision]", 1)[1].split("\n[[", 1)[0]
    for key in ProvisionSettings.model_fields:
        assert f"\n# {key} = " in provision, f"[provision] {key} is not in etc/edged.toml"
    camera = text.split("[[camera]]", 1)[1]
    for key in set(type(settings.camera[0]).model_fields) - {"zone", "line", "mask"}:
        assert f"\n{key} = " in camera or f"\n# {key} = " in camera, f"[[camera]] {key} is not in etc/edged.toml"


def test_load_takes_the_tls_key_from_a_credential_and_no_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "mqtt-key").write_text("PEM")
    (tmp_path / "mqtt-password").write_text("\n")
    mqtt = '[mqtt]\nusername = "u"\npassword = "of the file"\ncert_file = "/etc/edged/client.crt"\n'
    settings = load_settings(write(tmp_path, mqtt + MINIMAL))
    assert settings.mqtt.key_file == tmp_path / "mqtt-key"
    assert settings.mqtt.password.get_secret_value() == "of the file"


def test_load_leaves_out_a_camera_that_is_not_enabled_but_checks_it(tmp_path: Path) -> None:
    off = '[[camera]]\nname = "roof"\nsource = "roof.mp4"\nenabled = false\n'
    assert [camera.name for camera in load_settings(write(tmp_path, off + MINIMAL)).camera] == ["gate"]
    assert "3: [[camera]] number 1 source" in refused(tmp_path, off.replace("roof.mp4", "ftp://roof") + MINIMAL)
    assert "taken by the camera" in refused(tmp_path, off.replace('"roof"', '"gate"') + MINIMAL)
