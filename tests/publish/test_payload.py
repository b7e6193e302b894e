from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError

from edged.core.states import CameraState, DeviceInfo
from edged.core.types import Detections, FrameResult
from edged.publish import schemas
from edged.publish.counters import MessageTally
from edged.publish.payload import (
    detections_payload,
    encode,
    health_payload,
    info_payload,
    rfc3339,
    stats_payload,
)
from tests.publish.results import CLASSES, ORIGIN, result, statistics

NOON = datetime(2026, 3, 1, 12, 0, 0, 7, timezone.utc)


def validate(name: str, encoded: bytes) -> dict[str, Any]:
    """The message, after its schema accepted it."""
    message: dict[str, Any] = json.loads(encoded)
    Draft202012Validator(schemas.load(name)).validate(message)
    return message


def message(found: FrameResult) -> dict[str, Any]:
    payload = detections_payload(
        found, device="box", model="m", classes=CLASSES, boot_id="b", session="s", published_at=NOON
    )
    return validate("detections", encode(payload))


@pytest.mark.parametrize("name", schemas.NAMES)
def test_schema_is_a_valid_schema(name: str) -> None:
    Draft202012Validator.check_schema(schemas.load(name))


def test_schema_of_unknown_message_is_refused() -> None:
    with pytest.raises(ValueError, match="detections"):
        schemas.load("../payload")


@pytest.mark.parametrize("objects", [0, 1, 3, 16, 17, 50])
def test_detections_payload_holds_what_was_seen(objects: int) -> None:
    found = result(7, objects)
    got = message(found)
    assert (got["schema"], got["device"], got["camera"], got["sequence"]) == ("edged.detections/1", "box", "gate", 7)
    assert got["size"] == [640, 480]
    assert got["timings"] == {"waiting": 1.235, "detect": 20.0, "total": 21.235}
    assert got["published_at"] == "2026-03-01T12:00:00.000007Z"
    assert len(got["detections"]) == objects
    for seen, box, score, class_id in zip(
        got["detections"], found.detections.xyxy, found.detections.confidence, found.detections.class_id, strict=True
    ):
        assert seen["label"] == CLASSES[class_id]
        assert np.abs(np.array(seen["box"]) - box).max() <= 0.0501
        assert abs(seen["confidence"] - score) <= 0.0000501
        # One decimal as text, not the 17 digits of a float32 seen as a double.
        assert all(len(str(side).split(".")[1]) == 1 for side in seen["box"])


@given(st.lists(st.tuples(*[st.floats(0, 8192, width=32)] * 4, st.floats(0, 1, width=32)), max_size=40))
def test_detections_payload_of_any_boxes_is_valid(rows: list[tuple[float, ...]]) -> None:
    table = np.array(rows, np.float32).reshape(-1, 5)
    xyxy, confidence = np.ascontiguousarray(table[:, :4]), np.ascontiguousarray(table[:, 4])
    found = Detections(xyxy, confidence, np.zeros(len(rows), np.int32))
    got = message(replace(result(), detections=found))
    assert np.abs(np.array([d["box"] for d in got["detections"]]).reshape(-1, 4) - xyxy).max(initial=0) <= 0.051


@pytest.mark.parametrize("count", [1, 17])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("column", ["xyxy", "confidence"])
def test_detections_payload_refuses_what_is_no_number(count: int, bad: float, column: str) -> None:
    found = result(0, count)
    getattr(found.detections, column)[-1] = bad
    with pytest.raises(ValueError, match="finite"):
        message(found)


def test_detections_payload_refuses_timing_that_is_no_number() -> None:
    with pytest.raises(ValueError, match="timing nms"):
        message(replace(result(), timings={"waiting": 0.0, "detect": 0.0, "total": 0.0, "nms": float("nan")}))


@pytest.mark.parametrize("class_id", [-1, len(CLASSES)])
def test_detections_payload_refuses_class_without_name(class_id: int) -> None:
    found = result()
    found.detections.class_id[0] = class_id
    with pytest.raises(ValueError, match=str(class_id)):
        message(found)


def test_detections_schema_refuses_unknown_and_missing_fields() -> None:
    good = message(result())
    for wrong in ({**good, "extra": 1}, {k: v for k, v in good.items() if k != "boot_id"}):
        with pytest.raises(ValidationError):
            validate("detections", encode(wrong))


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 3, 1, 12, 0, 0, 0, timezone.utc),
        datetime(2026, 3, 1, 12, 0, 0, 20, timezone.utc),
        datetime(2026, 3, 1, 12, 0, 59, 999999, timezone(timedelta(0))),
        datetime(2026, 3, 1, 12, 0, 0, 5, timezone(timedelta(hours=-8))),
    ],
)
def test_moments_of_a_frame_are_written_with_microseconds_in_utc(moment: datetime) -> None:
    found = result()
    assert message(replace(found, meta=replace(found.meta, captured_at=moment)))["captured_at"] == rfc3339(moment)


@given(st.lists(st.floats(0, 8192, width=32), min_size=4, max_size=4), st.floats(0, 1, width=32))
def test_few_and_many_boxes_are_rounded_alike(side: list[float], score: float) -> None:
    def of(count: int) -> dict[str, Any]:
        seen = Detections(
            np.tile(np.array(side, np.float32), (count, 1)),
            np.full(count, score, np.float32),
            np.zeros(count, np.int32),
        )
        found: dict[str, Any] = message(replace(result(), detections=seen))["detections"][0]
        return found

    assert of(1) == of(17)


def test_rfc3339_speaks_utc() -> None:
    there = timezone(timedelta(hours=5, minutes=30))
    assert rfc3339(datetime(2026, 1, 1, 1, 0, 0, 0, there)) == "2025-12-31T19:30:00.000000Z"


def test_health_payload_is_valid_and_shows_no_password() -> None:
    reason = "rtsp://admin:pa@ss@10.0.0.2/live?token=abc: no answer"
    state = CameraState("gate", "offline", reason=reason, since=NOON, reconnects=3)
    got = validate("health", encode(health_payload(state, device="box")))
    assert "ss@" not in got["reason"]
    assert "abc" not in got["reason"]
    assert "10.0.0.2" in got["reason"]


def test_info_payload_is_valid() -> None:
    info = DeviceInfo(version="1.0", model="m", backend="cpu fp32", cameras=("gate", "yard"), started_at=NOON)
    assert validate("info", encode(info_payload(info, ORIGIN)))["cameras"] == ["gate", "yard"]


def test_stats_payload_names_every_figure_and_knows_no_nan() -> None:
    payload = stats_payload(statistics(fps=float("nan")), MessageTally().snapshot(waiting=3), ORIGIN, published_at=NOON)
    got = validate("stats", encode(payload))
    assert (got["device"], got["frames"], got["fps"], got["clock_steps"]) == ("box", 1800, None, 0)
    assert got["latency_ms"]["total"] == {"p50": 21.0, "p95": 25.0, "p99": None}
    assert got["cameras"]["gate"]["state"] == "online"
    assert got["cameras"]["gate"]["processed"] == 1800
    assert got["cameras"]["yard"]["state"] == "removed"
    assert got["publish"]["waiting"] == 3


def test_encode_refuses_what_is_no_json() -> None:
    with pytest.raises(ValueError, match="not JSON"):
        encode({"what": object()})


def test_encode_is_compact_utf8() -> None:
    assert encode({"label": "Tür"}) == '{"label":"Tür"}'.encode()
