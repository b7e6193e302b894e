"""What a camera may be asked to be."""

from __future__ import annotations

from typing import Any

import pytest

from edged.capture.spec import MAX_PIXELS, CameraSpec
from edged.core.redact import redact


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"name": ""}, "name '' must be", id="no-name"),
        pytest.param({"name": "Front/Door"}, "name 'Front/Door' must be", id="slash"),
        pytest.param({"name": "a" * 65}, "name 'a+' must be", id="long-name"),
        pytest.param({"name": "status"}, "no camera may be called 'status'", id="reserved"),
        pytest.param({"source": "  "}, "source must be", id="blank-source"),
        pytest.param({"source": "a\0b"}, "source must be", id="nul"),
        pytest.param({"source": "x" * 4097}, "at most 4096 characters", id="long-source"),
        pytest.param({"pace": "slow"}, "pace must be realtime or fast", id="pace"),
        pytest.param({"rotate": 45}, "rotate must be 0, 90, 180 or 270", id="rotate"),
        pytest.param({"acceleration": "all"}, "acceleration must be", id="acceleration"),
        pytest.param({"fps": -1.0}, "fps must be 0.0 to 1000.0", id="negative-fps"),
        pytest.param({"fps": float("nan")}, "fps must be", id="nan-fps"),
        pytest.param({"fps": True}, "fps must be a number", id="bool-fps"),
        pytest.param({"read_timeout_s": 0.0}, "read_timeout_s must be", id="no-time"),
        pytest.param({"decode_threads": 1.5}, "decode_threads must be a whole number, got 1.5", id="half-a-thread"),
        pytest.param({"loop": 1}, "loop must be true or false", id="number-loop"),
        pytest.param({"name": 5}, "name must be text", id="number-name"),
        pytest.param({"max_pixels": MAX_PIXELS + 1}, "max_pixels must be", id="pixels"),
    ],
)
def test_spec_refuses(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CameraSpec(**{"name": "gate", "source": "test:", **change})


def test_spec_shows_no_password() -> None:
    spec = CameraSpec(name="gate", source="rtsp://joe:secret@10.0.0.5/cam?key=hidden", loop=False)
    for text in (repr(spec), str(spec), spec.shown_source):
        assert "secret" not in text and "hidden" not in text and "10.0.0.5" in text
    # In the camera's own process as well, which has nothing but the spec: whatever a decoder says.
    assert redact("option 'secret' of key hidden is unknown") == "option '***' of key *** is unknown"
