"""What is asked of a video device, what it answers, what is taken of it. Real pictures: `python -m tests.vm video`."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import pytest

from edged.capture.sources.once import InlineSource
from edged.capture.sources.v4l2 import uapi
from edged.capture.sources.v4l2.asking import offers_of
from edged.capture.sources.v4l2.choice import Mode, Wanted, choose
from edged.capture.sources.v4l2.node import MOST, Node, capture_nodes, node_path
from edged.capture.sources.v4l2.offers import Offer, Rates, Sizes, facts, listed
from edged.capture.sources.v4l2.opening import OpenDevice, open_device
from edged.capture.sources.v4l2.reading import DevicePackets
from edged.capture.spec import CameraSpec
from edged.core.errors import CameraError
from tests.capture.sources.device_stand_in import CODEC, METADATA, PLANES, Device, Formats
from tests.capture.support import write_video

WEBCAM: Formats = {
    "YUYV": {(640, 480): (30, 15), (1280, 720): (10,), (1920, 1080): (5,)},
    "MJPG": {(640, 480): (30,), (1280, 720): (60, 30), (1920, 1080): (30,)},
    "XYZ1": {(640, 480): (90,)},
}


def offers(device: Device) -> tuple[Offer, ...]:
    with Node("/dev/null", ioctl=device) as node:
        return node.offers()


def test_requests_are_the_kernels_own_numbers() -> None:
    assert uapi.QUERYCAP == 0x80685600
    assert uapi.ENUM_FMT == 0xC0405602
    assert uapi.ENUM_FRAMESIZES == 0xC02C564A
    assert uapi.ENUM_FRAMEINTERVALS == 0xC034564B
    size = 0xD0 if struct.calcsize("P") == 8 else 0xCC
    assert (0xC0005604 | size << 16, 0xC0005640 | size << 16) == (uapi.G_FMT, uapi.TRY_FMT)


def test_stepwise_answers_are_read() -> None:
    sizes = uapi.sizes(struct.pack("=III6I8x", 0, 0, 3, 16, 1920, 8, 32, 1080, 4))
    assert sizes == uapi.Steps((16, 32), (1920, 1080), (8, 4))
    assert uapi.sizes(struct.pack("=III6I8x", 0, 0, 2, 16, 1920, 1, 32, 1080, 1)).step == (1, 1)
    times = uapi.intervals(struct.pack("=IIIII6I8x", 0, 0, 0, 0, 3, 1, 60, 1, 5, 1, 100))
    assert (times.least, times.most) == ((1, 60), (1, 5))


def test_a_webcam_says_what_it_is_and_offers() -> None:
    with Node("/dev/null", ioctl=Device(WEBCAM, interrupts=3)) as node:
        assert node.captures
        assert (node.capability.card, node.capability.bus) == ("HD Webcam", "usb-0000:1")
        found = node.offers()
    assert listed(found) == (
        "yuyv: 640x480 at 30, 15; 1280x720 at 10; 1920x1080 at 5 | mjpeg: 640x480, 1920x1080 at 30; 1280x720 at 60, 30 "
        "| (not read by edged: XYZ1): 640x480 at 90"
    )
    told = facts(found)[1]
    assert told["pixel_format"] == "mjpeg" and told["readable"]
    assert told["sizes"][1] == {"least": [1280, 720], "most": [1280, 720], "rates": [60.0, 30.0], "between": False}  # type: ignore[index]


def test_a_size_that_is_not_listed_is_the_present_one() -> None:
    found = offers(Device({"YUYV": {}}, lists_sizes=False))
    assert listed(found) == "yuyv: 720x576 at unknown rates"
    assert choose(found, Wanted((0, 0), "", 0.0)) == Mode("yuyv", (720, 576), 0.0)
    assert choose(found, Wanted((0, 0), "", 25.0)) == Mode("yuyv", (720, 576), 25.0)


def test_a_driver_without_an_end_is_not_asked_for_ever() -> None:
    device = Device({"YUYV": {(640, 480): (30,) * 1000}})
    assert offers(device)[0].sizes[0].rates.values == (30.0,)
    assert len(device.asked) < MOST + 10


def test_a_device_that_goes_while_it_is_asked_is_an_error() -> None:
    with pytest.raises(OSError, match="No such device") as caught:
        offers(Device(WEBCAM, gone=5))
    assert caught.value.errno == errno.ENODEV


@pytest.mark.parametrize(
    ("size", "pixel_format", "rate", "mode"),
    [
        pytest.param((0, 0), "", 0, Mode("mjpeg", (1280, 720), 30), id="nothing: raw is slower than 15"),
        pytest.param((640, 480), "", 0, Mode("yuyv", (640, 480), 30), id="raw where it is fast"),
        pytest.param((1280, 720), "", 10, Mode("yuyv", (1280, 720), 10), id="raw at the wanted rate"),
        pytest.param((1280, 720), "", 60, Mode("mjpeg", (1280, 720), 60), id="a rate that one format has"),
        pytest.param((0, 0), "yuyv", 30, Mode("yuyv", (640, 480), 30), id="a size that has the rate"),
        pytest.param((1920, 1080), "yuyv", 0, Mode("yuyv", (1920, 1080), 5), id="what is asked, though slow"),
        pytest.param((640, 480), "", 29.97, Mode("yuyv", (640, 480), 30), id="a rate written otherwise"),
        pytest.param((641, 480), "", 0, None, id="no such size"),
        pytest.param((640, 480), "nv12", 0, None, id="no such format"),
        pytest.param((640, 480), "", 25, None, id="no such rate"),
        pytest.param((1280, 720), "yuyv", 30, None, id="not together"),
    ],
)
def test_mode_chosen(size: tuple[int, int], pixel_format: str, rate: float, mode: Mode | None) -> None:
    assert choose(offers(Device(WEBCAM)), Wanted(size, pixel_format, rate)) == mode


def test_mode_of_ranges_is_within_them_and_on_their_steps() -> None:
    rates = Rates((60.0, 1.0), between=True)
    found = [Offer(uapi.fourcc("NV12"), (Sizes((32, 32), (4096, 2160), (24, 24), rates),))]
    assert choose(found, Wanted((0, 0), "", 0.0)) == Mode("nv12", (1280, 704), 30)
    assert choose(found, Wanted((80, 56), "", 12.5)) == Mode("nv12", (80, 56), 12.5)
    assert choose(found, Wanted((81, 56), "", 0.0)) is None
    assert choose(found, Wanted((0, 0), "", 61.0)) is None
    assert listed(found) == "nv12: 32x32 to 4096x2160 at 1 to 60"


def test_mode_of_large_pictures_alone_is_the_smallest() -> None:
    device = Device({"MJPG": {(3840, 2160): (30,), (1920, 1080): (60, 50)}})
    assert choose(offers(device), Wanted((0, 0), "", 0.0)) == Mode("mjpeg", (1920, 1080), 50)


def test_mode_in_ffmpegs_words() -> None:
    options = Mode("yuyv", (640, 480), 30000 / 1001).ffmpeg
    assert options == {"input_format": "yuyv422", "video_size": "640x480", "framerate": "29.970030"}
    assert "framerate" not in Mode("h265", (640, 480), 0.0).ffmpeg


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        pytest.param(METADATA, "for metadata only", id="metadata"),
        pytest.param(CODEC, "a codec or scaler", id="codec"),
        pytest.param(PLANES, "a camera with several planes", id="planes"),
        pytest.param(0x0400_0002, "no camera", id="output"),
    ],
)
def test_a_node_that_is_no_camera_is_told_from_one(tmp_path: Path, flags: int, kind: str) -> None:
    (tmp_path / "video0").touch()
    assert capture_nodes(ioctl=Device(WEBCAM, flags=flags), pattern=f"{tmp_path}/*") == "none"
    assert capture_nodes(ioctl=Device(WEBCAM), pattern=f"{tmp_path}/*") == f"{tmp_path}/video0 (HD Webcam)"
    with pytest.raises(CameraError, match=f"/dev/null is {kind}.*; cameras here: "):
        offers_of("/dev/null", ioctl=Device(WEBCAM, flags=flags))


@pytest.mark.parametrize(
    ("number", "message"),
    [
        pytest.param(errno.EBUSY, "is busy: another program reads it; see which: fuser -v /dev/null", id="busy"),
        pytest.param(errno.EACCES, "permission denied; add the user that runs edged to the group 'root'", id="group"),
        pytest.param(errno.ENODEV, r"is not there \(unplugged\?\); cameras here: ", id="unplugged"),
        pytest.param(errno.ENOTTY, "is no video device; cameras here: ", id="other"),
        pytest.param(errno.EIO, "cannot be opened: Input/output error", id="any"),
    ],
)
def test_a_device_that_refuses_is_told_in_one_sentence(number: int, message: str) -> None:
    def refuse(_descriptor: int, _request: int, _room: bytearray) -> object:
        raise OSError(number, os.strerror(number))

    with pytest.raises(CameraError, match=f"^/dev/null:? {message}"):
        offers_of("/dev/null", ioctl=refuse)


def test_what_is_not_offered_is_told_with_all_that_is() -> None:
    spec = CameraSpec("gate", "/dev/null", size="800x600", pixel_format="mjpeg", rate=25)
    with pytest.raises(
        CameraError, match="/dev/null does not offer mjpeg 800x600 25 frames/s; it offers yuyv: 640x480"
    ):
        open_device(spec, ioctl=Device(WEBCAM))


def test_paths_of_devices() -> None:
    assert node_path("0") == node_path("00") == "/dev/video0"
    assert node_path("/dev/v4l/by-id/x") == "/dev/v4l/by-id/x"


@pytest.mark.parametrize("source", ["/dev/null", "/dev/video97"])
def test_what_is_no_video_device_says_which_there_are(source: str) -> None:
    with pytest.raises(CameraError, match=f"{source}.*; cameras here: "):
        InlineSource(CameraSpec("gate", source))


def test_packets_are_the_newest_and_what_they_overtake_is_counted(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.avi", frames=60, size_wh=(64, 48))
    ready, writer = os.pipe()
    with closing_all(ready, writer), av.open(str(video)) as container:
        packets = DevicePackets(
            OpenDevice(container, ready, interlaced=False), container.streams.video[0], timeout_s=0.05
        )
        with pytest.raises(TimeoutError):
            packets.next()
        os.write(writer, b"a picture waits")
        first = packets.next()
        assert first is not None and first.pts == packets.overtaken == 32, "a driver holds no more"
        os.read(ready, 100)
        with pytest.raises(TimeoutError):
            packets.next()
        packets.close()
    assert len(bytes(first)) == first.size > 0, "a packet outlives its device"


@contextmanager
def closing_all(*descriptors: int) -> Iterator[None]:
    try:
        yield
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
