"""What `fast_decode` costs in detections: `EDGED_TEST_DATA=... python -m tests.capture.cost.accuracy`.

Videos with people are encoded anew as cameras send them: H.264 and H.265, as many bits a pixel as 4 Mbit/s are at
1920x1080 and 15 frames a second, a key frame every two seconds. Each is read with and without the loop filter, and the
model of the demo looks at the frames. mAP50-95 and mAP50 of persons, against people's labels where there are some
(pets.mp4, 69 frames), else against what the same model finds at confidence 0.4 and above before the video was encoded
anew.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType

from edged.capture.sources.reader import FrameReader
from edged.capture.spec import CameraSpec
from edged.core.bundle import Bundle
from edged.core.types import Detections, Floats, Pixels, Thresholds
from edged.cpu.detector import CpuDetector
from provisioning.evaluation.bundle_predictor import BundlePredictor
from provisioning.evaluation.metrics import Evaluation, Evaluator
from provisioning.evaluation.prediction import VAL_CONFIDENCE, VAL_DETECTIONS, VAL_IOU
from tests.capture.cost.__main__ import CODECS

MODEL = Path(__file__).parents[3] / "edged" / "demo" / "person"
VIDEOS = {"pets": 69, "one-by-one-person": 500, "night-street": 431}  # number of frames
BITS_A_PIXEL = 4e6 / (1920 * 1080 * 15)
SURE = 0.4
TRUTH_SCALE = 1.6  # the labels are of 768x576


def encoded(folder: Path, source: Path, codec: str) -> Path:
    """The video as a camera sends it."""
    encoder, preset = CODECS[codec]
    path = folder / f"{source.stem}-{encoder}.mkv"
    with av.open(str(source)) as before, av.open(str(path), "w") as container:
        shown = before.streams.video[0]
        rate = shown.average_rate or Fraction(25)
        options = {"preset": preset, "g": f"{2 * float(rate):.0f}", "bf": "0", "x265-params": "log-level=none"}
        track = container.add_stream(encoder, rate=rate, options=options)
        assert isinstance(track, av.VideoStream)
        track.width, track.height, track.pix_fmt = shown.width, shown.height, "yuv420p"
        track.bit_rate = int(shown.width * shown.height * float(rate) * BITS_A_PIXEL)
        for number, frame in enumerate(before.decode(shown)):
            frame.pts, frame.time_base, frame.pict_type = number, 1 / rate, PictureType.NONE
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    return path


def frames(path: Path, count: int, *, fast: bool) -> Iterator[Pixels]:
    """The first frames, as a camera's process reads them."""
    spec = CameraSpec(name="cost", source=str(path), pace="fast", loop=False, fast_decode=fast)
    with closing(FrameReader(spec)) as reader:
        for _ in range(count):
            if reader.advance() is None:
                return
            yield reader.retrieve(None)


def boxes_of_people(found: Detections, person: int) -> Floats:
    """(N, 4) float32: those that the model is sure of."""
    return np.asarray(found.xyxy[(found.class_id == person) & (found.confidence >= SURE)], np.float32)


def labels(data: Path) -> list[Floats]:
    """Of pets.mp4, for each frame: (N, 4) float32."""
    rows = np.loadtxt(data / "videos" / "pets-gt-001-069.txt", delimiter=",")
    truth = []
    for number in range(VIDEOS["pets"]):
        now = rows[rows[:, 0] == number + 1]
        corner, size = now[:, 2:4] / TRUTH_SCALE, now[:, 4:6] / TRUTH_SCALE
        truth.append(np.hstack([corner, corner + size]).astype(np.float32))
    return truth


def judged(predict: BundlePredictor, path: Path, truth: list[Floats], *, person: int, fast: bool) -> Evaluation:
    """The model on a video."""
    evaluator = Evaluator(("person",))
    for pixels, true in zip(frames(path, len(truth), fast=fast), truth, strict=True):
        found = predict([pixels])[0].detections
        people = found.class_id == person
        only = Detections(found.xyxy[people], found.confidence[people], np.zeros(int(people.sum()), np.int32))
        evaluator.add(only, true_xyxy=true, true_class=np.zeros(len(true), np.int32))
    return evaluator.result()


def main() -> None:
    """Print a table in Markdown."""
    data, out = Path(os.environ["EDGED_TEST_DATA"]), sys.stdout.write
    bundle = Bundle.open(MODEL)
    person = bundle.manifest.classes.index("person")
    thresholds = Thresholds(confidence=VAL_CONFIDENCE, iou=VAL_IOU, max_detections=VAL_DETECTIONS)
    out("| video | codec | mAP50-95, mAP50 | with `fast_decode` |\n|---|---|---|---|\n")
    detector = CpuDetector(bundle, thresholds=thresholds, threads=2)
    with closing(detector), tempfile.TemporaryDirectory() as folder:
        predict = BundlePredictor(detector)
        for video, count in VIDEOS.items():
            source = data / "videos" / f"{video}.mp4"
            seen = (predict([pixels])[0].detections for pixels in frames(source, count, fast=False))
            truth = labels(data) if video == "pets" else [boxes_of_people(each, person) for each in seen]
            for codec in CODECS:
                path = encoded(Path(folder), source, codec)
                cells = [judged(predict, path, truth, person=person, fast=fast) for fast in (False, True)]
                shown = " | ".join(f"{each.map50_95:.3f}, {each.map50:.3f}" for each in cells)
                out(f"| {video} | {codec} | {shown} |\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
