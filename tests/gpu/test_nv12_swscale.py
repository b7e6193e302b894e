"""What the NV12 kernel is held against is what FFmpeg computes; and how near it comes to a camera's BGR pictures."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("av", reason="PyAV is not carried to a GPU machine; nothing here needs one")

from av.filter import Graph
from av.video.frame import VideoFrame

from edged.capture.sources.convert import Converter
from edged.core.nv12 import YuvCoding
from edged.core.types import Pixels
from tests.gpu.ground import Processor
from tests.gpu.nv12 import CODINGS, Nv12, grey_levels_apart, noise, on_cpu, run_preprocess

SWSCALE_WRAPS = 220  # luma above, with the furthest differences, overflows swscale's 32 bits: white becomes black
SIZES = [(1, 1), (2, 1), (1, 2), (3, 2), (3, 5), (17, 1), (31, 31), (65, 63), (641, 479), (1920, 1080)]


def by_swscale(image: Nv12) -> Pixels:
    """(h, w, 3) uint8 BGR: FFmpeg's exact arithmetic, each pair of differences for its two by two pixels.

    Of odd sizes swscale stretches the differences, so that it gets whole blocks of two by two, cut to size behind it.
    """
    width, height = image.size_wh
    luma = np.pad(image.luma, ((0, height % 2), (0, width % 2)), "edge")
    frame = VideoFrame(luma.shape[1], luma.shape[0], "nv12")
    for plane, rows in zip(frame.planes, (luma, image.chroma), strict=True):
        memory = np.zeros(plane.buffer_size, np.uint8)
        memory[: len(rows) * plane.line_size].reshape(len(rows), -1)[:, : rows[0].size] = rows.reshape(len(rows), -1)
        plane.update(memory.tobytes())
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000))
    coded = f"in_color_matrix={image.coding.matrix}:in_range={'full' if image.coding.full_range else 'limited'}"
    scale = graph.add("scale", f"flags=neighbor+accurate_rnd+full_chroma_int:{coded}")
    form, sink = graph.add("format", "pix_fmts=bgr24"), graph.add("buffersink")
    for one, other in ((source, scale), (scale, form), (form, sink)):
        one.link_to(other)
    graph.configure()
    source.push(frame)
    converted = sink.pull()
    assert isinstance(converted, VideoFrame)
    return np.asarray(converted.to_ndarray()[:height, :width], np.uint8)


@pytest.mark.parametrize("coding", CODINGS, ids=str)
@pytest.mark.parametrize("size_wh", SIZES, ids=str)
def test_nv12_equals_swscale_and_the_cpu_within_two_grey_levels(size_wh: tuple[int, int], coding: YuvCoding) -> None:
    image = noise(*size_wh, coding, brightest=SWSCALE_WRAPS)
    for network_wh in ((64, 64), (160, 96)):
        got = run_preprocess([image], network_wh, on=Processor())[0]
        wanted = on_cpu(by_swscale(image), network_wh)
        assert grey_levels_apart(got, wanted) < 2.01, network_wh
        # Being equal nearly everywhere keeps the scores of CPU and GPU together.
        assert (got == wanted).mean() > 0.98, network_wh


def test_nv12_is_within_three_grey_levels_of_what_a_camera_hands_over_as_bgr() -> None:
    """The CPU's own way of a picture that FFmpeg decoded; its fast conversion rounds more coarsely."""
    image = natural()
    frame = VideoFrame(*image.size_wh, "yuv420p")
    for plane, rows in zip(frame.planes, (image.luma, image.chroma[..., 0], image.chroma[..., 1]), strict=True):
        memory = np.zeros((len(rows), plane.line_size), np.uint8)
        memory[:, : rows.shape[1]] = rows
        plane.update(memory.tobytes()[: plane.buffer_size])
    wanted = on_cpu(Converter().bgr(frame, None), (160, 96))
    got = run_preprocess([image], (160, 96), on=Processor())[0]
    assert grey_levels_apart(got, wanted) < 3.01 and np.abs(got - wanted).mean() * 255 < 1


def natural() -> Nv12:
    """Soft colours, hard edges: 640x360."""
    across, down = np.meshgrid(np.arange(640), np.arange(360))
    luma = 126 + 60 * np.sin(across / 37) + 40 * np.cos(down / 23) + 8 * ((across // 40 + down // 40) % 2)
    u, v = 128 + 40 * np.sin(across / 91 + 1), 128 + 40 * np.cos(down / 71)
    chroma = np.stack([u, v], -1)[::2, ::2]
    return Nv12(luma.clip(16, 235).astype(np.uint8), chroma.astype(np.uint8), CODINGS[0])
