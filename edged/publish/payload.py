"""Messages as JSON: what a frame's detections, a camera's health, the device's info and statistics look like.

The schemas in `edged/publish/schemas` say the same to machines. Numbers are rounded to what they can mean:
boxes to 0.1 pixel, confidence to 4 digits, milliseconds to 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Literal

import numpy as np
import orjson

from edged.core.redact import redact
from edged.core.types import Detections, FrameResult

Payload = dict[str, Any]
CameraStateName = Literal["opening", "online", "frozen", "offline", "ended"]

# Pictures still arrive in these states: consumers of `<camera>/status` may expect detections.
LIVE_STATES: frozenset[str] = frozenset({"online", "frozen"})
BOX_DIGITS = 1
CONFIDENCE_DIGITS = 4
TIMING_DIGITS = 3

# Below this many detections plain Python rounds faster than numpy's fixed cost a call (they met at 4 when measured).
_FEW = 4


def rfc3339(moment: datetime) -> str:
    """`moment` in UTC with microseconds, e.g. `2026-03-01T12:00:00.000000Z`; it must carry a time zone."""
    if moment.tzinfo is not timezone.utc:
        moment = moment.astimezone(timezone.utc)
    return moment.isoformat(timespec="microseconds")[:26] + "Z"


def detections_payload(
    result: FrameResult,
    *,
    device: str,
    model: str,
    classes: Sequence[str],
    boot_id: str,
    session: str,
    published_at: datetime,
) -> Payload:
    """`edged.detections/1`: one processed frame. Boxes are [x1, y1, x2, y2] in frame pixels.

    Args:
        result: what the detector said.
        device: the device's id.
        model: name of the bundle that looked.
        classes: names by class id.
        boot_id: of the machine; changes when it restarts.
        session: of the daemon; changes at every start.
        published_at: with time zone.

    Raises:
        ValueError: a box, confidence or timing is not finite, or a class id has no name.
    """
    meta = result.meta
    return {
        "schema": "edged.detections/1",
        "device": device,
        "camera": meta.camera,
        "boot_id": boot_id,
        "session": session,
        "sequence": meta.sequence,
        "captured_at": rfc3339(meta.captured_at),
        "published_at": rfc3339(published_at),
        "size": list(meta.size_wh),
        "model": model,
        "timings": {stage: _finite(stage, ms) for stage, ms in result.timings.items()},
        "detections": _objects(result.detections, classes),
    }


def _finite(stage: str, milliseconds: float) -> float:
    if not math.isfinite(milliseconds):
        raise ValueError(f"timing {stage} must be finite milliseconds, got {milliseconds}")
    return round(float(milliseconds), TIMING_DIGITS)


def _objects(found: Detections, classes: Sequence[str]) -> list[Payload]:
    if not len(found):
        return []
    class_ids: list[int] = found.class_id.tolist()
    if min(class_ids) < 0 or max(class_ids) >= len(classes):
        raise ValueError(f"class ids must be 0..{len(classes) - 1}, got {min(class_ids)}..{max(class_ids)}")
    boxes, scores = _rounded(found)
    return [
        {"label": classes[class_id], "class_id": class_id, "confidence": score, "box": box}
        for class_id, score, box in zip(class_ids, scores, boxes, strict=True)
    ]


def _rounded(found: Detections) -> tuple[list[list[float]], list[float]]:
    if len(found) < _FEW:
        boxes: list[list[float]] = found.xyxy.tolist()
        scores: list[float] = found.confidence.tolist()
        _require_finite(sum(scores) + sum(map(sum, boxes)))
        return [[round(side, BOX_DIGITS) for side in box] for box in boxes], [
            round(s, CONFIDENCE_DIGITS) for s in scores
        ]
    # Rounded as doubles: a float32 rounded to 0.1 would print as 10.100000381.
    boxes = found.xyxy.astype(np.float64).round(BOX_DIGITS).tolist()
    scores = found.confidence.astype(np.float64).round(CONFIDENCE_DIGITS).tolist()
    _require_finite(sum(scores) + sum(map(sum, boxes)))
    return boxes, scores


def _require_finite(total: float) -> None:
    # One sum tells of any NaN or infinity: finite float32 values cannot overflow a double.
    if not math.isfinite(total):
        raise ValueError("boxes and confidences must be finite numbers")


def health_payload(
    camera: str, *, device: str, state: CameraStateName, reason: str, since: datetime, reconnects: int
) -> Payload:
    """`edged.health/1`: how one camera is. `reason` loses any credentials it quotes."""
    return {
        "schema": "edged.health/1",
        "device": device,
        "camera": camera,
        "state": state,
        "reason": redact(reason),
        "since": rfc3339(since),
        "reconnects": reconnects,
    }


def info_payload(
    *,
    device: str,
    version: str,
    model: str,
    backend: str,
    cameras: Sequence[str],
    boot_id: str,
    session: str,
    started_at: datetime,
) -> Payload:
    """`edged.info/1`: what runs on the device. Cameras by name only: their addresses hold secrets."""
    return {
        "schema": "edged.info/1",
        "device": device,
        "version": version,
        "model": model,
        "backend": redact(backend),
        "cameras": list(cameras),
        "boot_id": boot_id,
        "session": session,
        "started_at": rfc3339(started_at),
    }


def stats_payload(
    values: Mapping[str, object], *, device: str, boot_id: str, session: str, published_at: datetime
) -> Payload:
    """`edged.stats/1`: a header around what health and publisher counted; unknown figures are null."""
    header: Payload = {
        "schema": "edged.stats/1",
        "device": device,
        "boot_id": boot_id,
        "session": session,
        "published_at": rfc3339(published_at),
    }
    return {**header, **values, **header}


def encode(payload: Mapping[str, Any]) -> bytes:
    """Compact UTF-8 JSON. A NaN or infinity that slipped in becomes null, never the invalid word `NaN`.

    Raises:
        ValueError: a value that JSON cannot hold.
    """
    try:
        return orjson.dumps(payload)
    except orjson.JSONEncodeError as exc:
        raise ValueError(f"not JSON: {exc}") from exc
