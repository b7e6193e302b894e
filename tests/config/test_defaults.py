"""A setting has one default and one range: what the file shows is what each stage begins with and takes."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from edged.analysis.options import EventOptions, SnapshotOptions, TrackOptions
from edged.assembly.model import thresholds
from edged.assembly.options import camera_specs, mqtt_options, outbox_options
from edged.capture.spec import CameraSpec, ReadOptions
from edged.config import Settings, load_settings
from edged.config.camera import Camera
from edged.config.schema import Model, Mqtt, Publish
from edged.core.bundle import Bundle
from edged.core.limits import ScoreLimits
from edged.core.paths import STATE_DIR
from edged.core.types import Thresholds
from edged.publish.options import MqttOptions, OutboxOptions, SessionOptions
from tests.handmade import write_bundle

EXAMPLE = Path(__file__).parents[2] / "etc" / "edged.toml"


def test_a_stage_begins_with_what_an_empty_section_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bundle(tmp_path, input_wh=(64, 64))
    assert camera_specs([Camera(name="gate", source="test:")]) == [CameraSpec("gate", "test:")]
    assert mqtt_options(Mqtt()) == MqttOptions("localhost")
    monkeypatch.setenv("STATE_DIRECTORY", str(STATE_DIR))
    assert outbox_options(Publish(durable="all"), device="box") == OutboxOptions(STATE_DIR / "outbox")
    assert thresholds(Model(bundle=tmp_path), Bundle.open(tmp_path)) == Thresholds()


@pytest.mark.parametrize(
    ("section", "kind"),
    [
        ("camera", ReadOptions),
        ("mqtt", SessionOptions),
        ("model", ScoreLimits),
        ("track", TrackOptions),
        ("events", EventOptions),
        ("snapshots", SnapshotOptions),
    ],
    ids=str,
)
def test_the_example_shows_the_defaults_of_the_stages(tmp_path: Path, section: str, kind: Any) -> None:
    text = EXAMPLE.read_text()
    for field in fields(kind):
        head, body = re.split(rf"^(?=\[+{section}\]+$)", text, maxsplit=1, flags=re.MULTILINE)
        said, count = re.subn(rf"^# (?={field.name} = )", "", body, count=1, flags=re.MULTILINE)
        assert count == 1, f"[{section}] {field.name} is not shown"
        path = tmp_path / "edged.toml"
        path.write_text(head + said)
        settings: Settings = load_settings(path)
        options = settings.camera[0] if section == "camera" else getattr(settings, section)
        assert field.name in options.model_fields_set
        assert getattr(options, field.name) == field.default


@pytest.mark.parametrize(
    "said",
    [{"outbox_max_mb": 1}, {"outbox_max_mb": 1 << 30}, {"outbox_max_days": 0.001}, {"outbox_max_days": 3650}],
)
def test_an_outbox_that_the_file_may_ask_for_can_be_had(said: dict[str, float]) -> None:
    assert outbox_options(Publish.model_validate(said), device="box") is not None


@pytest.mark.parametrize("said", [{"keepalive_s": 1}, {"keepalive_s": 3600}, {"client_id": "\u00e4" * 128}])
def test_a_session_that_the_file_may_ask_for_can_be_had(said: dict[str, object]) -> None:
    options = mqtt_options(Mqtt.model_validate(said))
    assert {key: getattr(options, key) for key in said} == said
