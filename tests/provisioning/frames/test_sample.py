"""Sampling from real files: videos and pictures that the test writes, a stream over HTTP."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from edged.core.errors import CameraError, DataError, UsageError
from edged.core.trust import Trust
from edged.core.types import Pixels
from provisioning.frames.frameset import FrameSet, uses
from provisioning.frames.sample import Distinct, sample
from provisioning.frames.sources import strata
from tests.brokers import make_certificates
from tests.capture.snapshot_server import snapshot_server
from tests.capture.videos import write_pictures

WH = (96, 64)


def picture(number: int) -> Pixels:
    """A picture unlike any of another number: a bright block that sits elsewhere."""
    image = np.full((WH[1], WH[0], 3), 40, np.uint8)
    row, column = divmod(number % 96, 12)
    image[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = 120 + number % 5 * 30
    return image


def write_video(path: Path, numbers: list[int]) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, WH)
    assert writer.isOpened()
    for number in numbers:
        writer.write(picture(number))
    writer.release()
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(40):
        cv2.imwrite(str(pictures / f"{number:03d}.png"), picture(number))
    return pictures


def test_sample_of_a_folder_is_spread_and_listed(folder: Path, tmp_path: Path) -> None:
    taken = sample([str(folder)], tmp_path / "out", count=16, verification=4)
    assert [len(taken.of("calibration")), len(taken.of("verification"))] == [16, 4]
    indices = [frame.index for frame in taken.frames]
    assert indices == sorted(indices)
    assert all(2 * place <= index < 2 * place + 2 for place, index in enumerate(indices))
    assert FrameSet.read(tmp_path / "out") == taken
    assert len(list(taken.pictures("calibration"))) == 16


def test_sample_is_repeatable_by_its_seed(folder: Path, tmp_path: Path) -> None:
    first, same, other = (
        sample([str(folder)], tmp_path / name, count=10, verification=3, seed=seed)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first.frames == same.frames
    assert first.digest("calibration") == same.digest("calibration") != other.digest("calibration")


def test_sample_of_a_video_gives_the_frames_it_names(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.avi", list(range(60)))
    taken = sample([str(video)], tmp_path / "out", count=10, verification=2)
    assert len(taken.frames) == 12
    for frame in taken.frames:
        pixels = cv2.imread(str(tmp_path / "out" / frame.file))
        assert pixels is not None
        assert np.abs(pixels.astype(int) - picture(frame.index)).mean() < 3


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("v.mp4", {"x264-params": "interlaced=1:tff=1", "crf": "10"}, id="interlaced"),
        pytest.param("v.mp4", {"crf": "10", "g": "50"}, id="far-between"),
        pytest.param("v.h264", {"crf": "10"}, id="length-unknown"),
        pytest.param("v.ts", {"crf": "10"}, id="transport-stream"),
        pytest.param("v.mkv", {"crf": "10", "bf": "3"}, id="reordered"),
    ],
)
def test_sample_of_a_video_of_many_frames_gives_those_it_names(
    tmp_path: Path, name: str, options: dict[str, str]
) -> None:
    pictures = [picture(number) for number in range(900)]
    video = write_pictures(tmp_path / name, "libx264", "yuv420p", pictures, options=options)
    taken = sample([str(video)], tmp_path / "out", count=2, verification=0)
    assert len(taken.frames) == 2
    for frame in taken.frames:
        pixels = cv2.imread(str(tmp_path / "out" / frame.file))
        assert pixels is not None
        best = min(range(900), key=lambda number: float(np.abs(pixels.astype(int) - pictures[number]).mean()))
        assert best % 480 == frame.index % 480, f"frame {frame.index} shows picture {best}"


def test_sample_leaves_near_duplicates_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    video = write_video(tmp_path / "v.avi", [1] * 30 + [2] * 30)
    with caplog.at_level(logging.WARNING):
        taken = sample([str(video)], tmp_path / "out", count=8, verification=0)
    assert len(taken.frames) == 2
    assert taken.skipped["near-duplicate"] > 5
    assert "2 of 8 frames" in caplog.text


def test_distinct_tells_noise_from_movement() -> None:
    rng, seen = np.random.default_rng(0), Distinct()
    noisy = np.clip(picture(1) + rng.normal(0, 4, (WH[1], WH[0], 3)), 0, 255).astype(np.uint8)
    assert [seen.admit(picture(1)), seen.admit(noisy), seen.admit(picture(2))] == [True, False, True]


def test_sample_reports_unreadable_pictures_and_takes_others(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(0, 40, 2):
        (folder / f"{number:03d}.png").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        taken = sample([str(folder)], tmp_path / "out", count=10, verification=0)
    assert len(taken.frames) == 10
    assert all(frame.index % 2 for frame in taken.frames)
    assert taken.skipped["unreadable"] == caplog.text.count("cannot be decoded") > 0


def test_sample_shares_between_sources(folder: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.avi", list(range(50, 90)))
    taken = sample([str(folder), str(video)], tmp_path / "out", count=12, verification=0)
    assert [sum(frame.source == str(source) for frame in taken.frames) for source in (folder, video)] == [6, 6]


def test_sample_passes_a_short_sources_share_on(folder: Path, tmp_path: Path) -> None:
    single = tmp_path / "one.png"
    cv2.imwrite(str(single), picture(77))
    taken = sample([str(single), str(folder)], tmp_path / "out", count=12, verification=0)
    assert len(taken.frames) == 12


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "does not exist", id="missing"),
        pytest.param(b"no video at all", "no video stream", id="not-a-video"),
    ],
)
def test_sample_refuses_what_is_no_source(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "v.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        sample([str(path)], tmp_path / "new" / "folders" / "out")
    assert not (tmp_path / "new").exists()
    (tmp_path / "kept").mkdir()
    with pytest.raises(DataError, match=message):
        sample([str(path)], tmp_path / "kept" / "out")
    assert list(tmp_path.glob("kept*")) == [tmp_path / "kept"]


def test_sample_of_an_empty_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no picture"):
        sample([str(tmp_path / "empty")], tmp_path / "out")


def test_sample_never_writes_into_a_folder_that_holds_something(folder: Path) -> None:
    with pytest.raises(UsageError, match="not empty"):
        sample([str(folder)], folder)


def test_frames_that_were_changed_are_refused(folder: Path, tmp_path: Path) -> None:
    taken = sample([str(folder)], tmp_path / "out", count=4, verification=0)
    cv2.imwrite(str(tmp_path / "out" / taken.frames[0].file), picture(70))
    with pytest.raises(DataError, match="not the frame that was sampled"):
        list(taken.pictures("calibration"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(None, "cannot be read", id="missing"),
        pytest.param("{", "no list of frames", id="torn"),
        pytest.param('{"schema": "other/1"}', "schema 'other/1'", id="other-schema"),
    ],
)
def test_frame_list_of_another_shape_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "frames.json").write_text(text)
    with pytest.raises(DataError, match=message):
        FrameSet.read(tmp_path)


@pytest.mark.parametrize(("count", "apart"), [(250, 50), (7, 3), (5, 0), (4, 4), (101, 50)])
def test_uses_keeps_the_asked_number_apart(count: int, apart: int) -> None:
    assert list(uses(count, apart)).count("verification") == apart


@pytest.mark.parametrize(("length", "wanted"), [(10, 3), (3, 10), (1, 1), (1000, 250)])
def test_strata_lie_inside_and_do_not_overlap(length: int, wanted: int) -> None:
    stretches = strata(length, wanted, np.random.default_rng(0))
    flat = [place for stretch in stretches for place in stretch]
    assert len(stretches) == min(length, wanted)
    assert flat == sorted(set(flat))
    assert 0 <= flat[0] <= flat[-1] < length


@pytest.fixture
def stream() -> Iterator[str]:
    """Motion JPEG over HTTP, as many cameras serve it; it ends after 120 frames."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_args: object) -> None: ...

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for number in range(120):
                jpeg = cv2.imencode(".jpg", picture(number))[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
                    time.sleep(0.004)
                except OSError:
                    return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="mjpeg", daemon=True)
    thread.start()
    yield f"http://user:secret@127.0.0.1:{server.server_address[1]}/video"
    server.shutdown()
    server.server_close()
    thread.join()


def test_sample_of_a_stream_hides_its_password(stream: str, tmp_path: Path) -> None:
    taken = sample([stream], tmp_path / "out", count=5, verification=1, every_s=0.001)
    assert len(taken.frames) == 6
    assert "secret" not in (tmp_path / "out" / "frames.json").read_text()


def test_sample_of_a_camera_that_gives_a_picture_for_each_request(tmp_path: Path) -> None:
    with snapshot_server() as server:
        address = f"http://127.0.0.1:{server.port}/snap.jpg"
        taken = sample([address], tmp_path / "out", count=2, verification=0, every_s=0.1)
    assert (len(taken.frames), taken.skipped) == (1, {"near-duplicate": 4}), "asked again, and it showed the same"


def test_sample_of_a_camera_that_signed_for_itself(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    with snapshot_server(certificate=certificates.file("server.pem")) as server:
        address = f"https://localhost:{server.port}/snap.jpg"
        with pytest.raises(CameraError, match="its certificate is not accepted"):
            sample([address], tmp_path / "out", count=1, verification=0, every_s=0.1)
        trust = Trust(ca_file=str(certificates.file("ca.pem")))
        taken = sample([address], tmp_path / "out", count=1, verification=0, every_s=0.1, trust=trust)
    assert len(taken.frames) == 1


def test_sample_of_a_stream_that_ends_keeps_what_came(
    stream: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        taken = sample([stream], tmp_path / "out", count=500, verification=0, every_s=0.001)
    assert 5 < len(taken.frames) <= 120
    assert "the stream ended" in caplog.text


def test_sample_of_a_camera_that_is_not_there_fails(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="cannot be opened"):
        sample(["http://127.0.0.1:9/video"], tmp_path / "out")
    with pytest.raises(CameraError, match="/dev/video99: No such file"):
        sample(["/dev/video99"], tmp_path / "out")
