"""Streams whose bytes arrive and whose pictures do not, or not yet: what is said, and for how long it is borne."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from edged.capture.cameras import Cameras
from edged.capture.sources.once import InlineSource
from edged.capture.spec import CameraSpec
from edged.core.errors import CameraError
from tests.capture.support import QUICK, Recorder, number_of, playing_server, take_until
from tests.capture.videos import Piece, encoded, transport_stream

AWAITED = "bytes arrive, but no key frame yet"


def camera(port: int, *, name: str = "gate", scheme: str = "http", open_timeout_s: float = 2.0) -> CameraSpec:
    return CameraSpec(
        name=name,
        source=f"{scheme}://127.0.0.1:{port}/video?token=hidden",
        open_timeout_s=open_timeout_s,
        read_timeout_s=1.0,
        frozen_after_s=0,
    )


def distant_key_frames(before: int, after: int = 25) -> list[Piece]:
    """Pieces that begin `before` pictures ahead of a key frame."""
    gop = before + 1
    pieces = encoded("libx264", "yuv420p", [index % 50 for index in range(gop + after)], options={"g": str(gop)})
    assert [index for index, piece in enumerate(pieces) if piece[1]][:2] == [0, gop]
    return pieces[1:]


def test_distant_key_frame_is_waited_for_and_said() -> None:
    recorder = Recorder()
    portions = transport_stream(distant_key_frames(140))  # 5.6 s: later than both time-outs together
    with (
        playing_server(portions) as port,
        # A busy machine takes two seconds to start a process.
        Cameras([camera(port, open_timeout_s=4.0)], on_state=recorder, settings=QUICK) as cameras,
    ):
        frames = take_until(cameras, lambda: cameras.counters()["gate"].taken > 5, timeout_s=20)
        assert cameras.counters()["gate"].bad_frames == 0
    assert recorder.names("gate") == ["opening", "online"], recorder.states
    assert [state.reason for state in recorder.states[:3]] == ["", AWAITED, ""]
    assert frames[0].meta.sequence < 140, "what came before the key frame does not count"


def test_damage_is_said_and_borne_until_the_next_key_frame() -> None:
    pieces = encoded("libx264", "yuv420p", [index % 50 for index in range(120)], options={"g": "60"})
    broken = pieces[20][0][:30]
    portions = transport_stream([*pieces[:20], (broken, False, 20), *pieces[21:]])
    recorder = Recorder()
    with playing_server(portions) as port, Cameras([camera(port)], on_state=recorder, settings=QUICK) as cameras:
        take_until(cameras, lambda: recorder.names("gate") == ["opening", "online", "offline", "online"])
        counters, pids = cameras.counters()["gate"], cameras.pids()
        assert counters.bad_frames > 20
        assert counters.taken < 80, "no picture that builds on what was lost is handed out"
        assert counters.reconnects == 0 and pids, "nothing was opened anew: the next key frame mends it"
    assert "damaged or lost; waiting for a key frame" in recorder.wait_for("gate", "offline").reason


def test_pictures_that_never_come_are_an_error_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edged.capture.sources.reader.LOST_AFTER_S", 1.0)
    portions = transport_stream(distant_key_frames(100))
    with (
        playing_server(portions) as port,
        InlineSource(camera(port)) as source,
        pytest.raises(CameraError, match=f"no picture for 1 s: {AWAITED}") as caught,
    ):
        source.read()
    assert "hidden" not in str(caught.value)


def test_scheme_in_capitals_is_the_same_camera() -> None:
    portions = transport_stream(encoded("libx264", "yuv420p", range(24)))
    with playing_server(portions) as port, InlineSource(camera(port, scheme="HTTP")) as source:
        frame = source.read()
        assert frame is not None and number_of(frame.pixels) == 0
        assert source.info.live


@pytest.mark.parametrize("scheme", ["RTSP", "Rtsp", "HTTPS"])
def test_scheme_in_capitals_gives_the_true_reason(scheme: str) -> None:
    with pytest.raises(CameraError, match="Connection refused"):
        InlineSource(CameraSpec(name="gate", source=f"{scheme}://127.0.0.1:1/cam"))


def test_stream_that_falls_silent_is_lost_for_that_reason() -> None:
    portions = transport_stream(encoded("libx264", "yuv420p", range(24)))
    began_s = time.monotonic()
    with playing_server(portions) as port, InlineSource(camera(port)) as source:
        for _ in range(22):  # demuxer and decoder hold two back until more comes; at the time-out they are old
            assert source.read() is not None
        with pytest.raises(CameraError, match=r"no answer within 1\.0 s$"):
            source.read()
    assert time.monotonic() - began_s < 5


def test_complaints_of_the_decoder_are_no_reason_for_a_loss() -> None:
    portions = transport_stream(distant_key_frames(10))
    recorder = Recorder()
    with playing_server(portions, hangs_up=True) as port, Cameras([camera(port)], on_state=recorder, settings=QUICK):
        reason = recorder.wait_for("gate", "offline").reason
    assert reason.endswith(" the stream ended"), reason


def test_recording_that_begins_between_two_key_frames_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "v.ts"
    path.write_bytes(b"".join(transport_stream(distant_key_frames(30))))
    with InlineSource(CameraSpec(name="file", source=str(path), pace="fast", loop=False)) as source:
        count = 0
        while source.read() is not None:
            count += 1
    assert count == 25
