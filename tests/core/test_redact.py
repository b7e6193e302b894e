"""No password leaves through a message."""

from __future__ import annotations

import pytest

from edged.core.redact import redact


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        pytest.param("", "", id="empty"),
        pytest.param("gate.mp4", "gate.mp4", id="file"),
        pytest.param("rtsp://10.0.0.9:554/main", "rtsp://10.0.0.9:554/main", id="nothing-to-hide"),
        pytest.param("rtsp://u:secret@10.0.0.9:554/main", "rtsp://***@10.0.0.9:554/main", id="user-and-password"),
        pytest.param("rtsp://secret@h/main", "rtsp://***@h/main", id="user"),
        pytest.param("rtsp://u:se@cr/et@h/main", "rtsp://***@h/main", id="unescaped"),
        pytest.param("http://h/v?token=secret&x=1", "http://h/v?***", id="query"),
        pytest.param("a rtsp://u:secret@h/ and http://u:secret@i/", "a rtsp://***@h/ and http://***@i/", id="two"),
        pytest.param("gst:rtspsrc location=rtsp://u:secret@h/ ! x", "gst:rtspsrc location=rtsp://***@h/ ! x", id="gst"),
        pytest.param('gst:rtspsrc user-id=me user-pw="secret" ! x', "gst:rtspsrc user-id=*** user-pw=*** ! x", id="pw"),
        pytest.param("test:?size=640x480", "test:?size=640x480", id="pattern"),
    ],
)
def test_redact(source: str, shown: str) -> None:
    assert redact(source) == shown
