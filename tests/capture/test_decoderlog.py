"""What decoders print, read for people and for counts."""

from __future__ import annotations

from edged.capture.decoderlog import cause, coded_size, damaged, refused, stale

TIMEOUT = "[ WARN:0@1.020] global cap_ffmpeg_impl.hpp:453 callback Stream timeout triggered after 1001.854240 ms"


def test_cause_prefers_the_timeout() -> None:
    assert cause([TIMEOUT, "[OPENCV:FFMPEG:16] Immediate exit requested"]) == "no answer within 1.0 s"


def test_cause_is_the_last_complaint_without_secrets() -> None:
    lines = [
        "[OPENCV:FFMPEG:16] first",
        "[OPENCV:FFMPEG:16] cannot reach rtsp://u:secret@h/x?k=v",
        "[OPENCV:FFMPEG:40] chat",
    ]
    assert cause(lines) == "cannot reach rtsp://***@h/x?***"


def test_cause_of_nothing_is_empty() -> None:
    assert cause([]) == ""
    assert cause(["[ WARN:0@0.014] backend is generally available but can't be used to capture by name"]) == ""


def test_damaged_counts_errors_only() -> None:
    assert damaged(["[OPENCV:FFMPEG:16] error while decoding MB 3 4"])
    assert damaged(["Corrupt JPEG data: premature end of data segment"])
    assert not damaged(["[OPENCV:FFMPEG:24] deprecated pixel format used", "[OPENCV:FFMPEG:40] Statistics"])


def test_refused_knows_http_and_rtsp() -> None:
    assert refused(["[OPENCV:FFMPEG:24] HTTP error 401 Unauthorized"])
    assert refused(["[OPENCV:FFMPEG:16] method DESCRIBE failed: 401 (Unauthorized)"])
    assert not refused(["[OPENCV:FFMPEG:16] method DESCRIBE failed: 404 (Not Found)"])


def test_sizes_and_stale_pictures() -> None:
    lines = ["[OPENCV:FFMPEG:40] Reinit context to 320x240, pix_fmt: yuv420p", "other"]
    assert coded_size(lines) == (320, 240)
    assert coded_size(["other"]) is None
    assert stale(["[OPENCV:FFMPEG:16] Slice parameters 0, 480 are invalid"])
    assert not stale(lines)
