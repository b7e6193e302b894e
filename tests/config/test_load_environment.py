"""Settings from the environment: what they override, and what is said of a variable that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged.config import load_settings
from tests.config.files import MINIMAL, refused, write


def test_load_environment_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGED_MQTT__PASSWORD", "from-env")
    monkeypatch.setenv("EDGED_MQTT__PORT", "1884")
    monkeypatch.setenv("EDGED_TEST_DATA", "not ours")
    settings = load_settings(write(tmp_path, '[mqtt]\nport = 1885\nusername = "u"\n' + MINIMAL))
    assert settings.mqtt.password.get_secret_value() == "from-env"
    assert settings.mqtt.port == 1884


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ("auto",)),
        ('device = "1"', ("1",)),
        ('device = ["0", "GPU-1a"]', ("0", "GPU-1a")),
        ('device = ["1"]', ("1",)),
    ],
)
def test_load_takes_one_gpu_or_a_list(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    assert load_settings(write(tmp_path, f"[engine]\n{text}\n" + MINIMAL)).engine.device == names


@pytest.mark.parametrize(
    ("value", "names"), [("auto", ("auto",)), ("1", ("1",)), ("GPU-1a", ("GPU-1a",)), ('["1", "0"]', ("1", "0"))]
)
def test_load_takes_gpus_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, names: tuple[str, ...]
) -> None:
    monkeypatch.setenv("EDGED_ENGINE__DEVICE", value)
    assert load_settings(write(tmp_path, MINIMAL)).engine.device == names


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("person", ("person",)),
        ("person, car", ("person", "car")),
        ('["person", "cell phone"]', ("person", "cell phone")),
        ("", ()),
    ],
)
def test_load_takes_names_with_commas_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, names: tuple[str, ...]
) -> None:
    monkeypatch.setenv("EDGED_MODEL__CLASSES", value)
    assert load_settings(write(tmp_path, MINIMAL)).model.classes == names


def test_load_names_the_variable_of_a_list_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGED_MODEL__CLASSES", "[1]")
    assert "environment EDGED_MODEL__CLASSES: [model] classes: expected text in quotes, got 1" in refused(
        tmp_path, MINIMAL
    )


def test_load_never_shows_a_section_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGED_MQTT", '{"password": "hunter2"')
    assert "hunter2" not in refused(tmp_path, MINIMAL)


@pytest.mark.parametrize("name", ["EDGED_MQTT__PASSWORD", "EDGED_CAMERA__GATE__PASSWORD", "EDGED_MODEL"])
def test_load_names_the_variable_that_is_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "hunter2\udcff")
    assert refused(tmp_path, MINIMAL) == f"environment {name}: not UTF-8"


@pytest.mark.parametrize("name", ["EDGED_PROVISION", "EDGED_MODEL__CLASSES", "EDGED_PUBLISH__QOS"])
def test_load_names_the_variable_that_is_beyond_all_measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "9" * 5000 if name.endswith("QOS") else "[" * 20_000)
    assert f"environment {name}" in refused(tmp_path, MINIMAL)


def test_load_names_the_environment_variable_that_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGED_MQTT__PORT", "many")
    assert "environment EDGED_MQTT__PORT: [mqtt] port: input should be a valid integer" in refused(tmp_path, MINIMAL)
