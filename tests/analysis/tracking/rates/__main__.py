"""Scores the tracker beside those of `trackers` on walkers at several rates; see edged/analysis/tracking/README.md.

    python -m tests.analysis.tracking.rates look DATA FILE    detections of the video, with YOLOv5n at 640
    python -m tests.analysis.tracking.rates score DATA FILE   the table; needs `trackers`, and no torch

`make test-trackers` does both. It ends with 1 where a target is missed.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FRAMES, VIDEO_FPS = 69, 10.0  # as far as the ground truth goes
STRIDES = (1, 2, 3, 4, 5)
TRUTH_SCALE = 1.6  # of 768x576, the video has 480x360
MOST_BELOW, LEAST_AT_2_FPS = 3.0, 60.0

Array = npt.NDArray[Any]
Step = Callable[[float, Array, Array], tuple[Array, Array]]  # seconds, boxes, scores -> ids, boxes
Maker = Callable[[float], Step]


def look(data: Path, target: Path) -> None:
    """Detect people in the video's first frames, with the official weights, and store boxes and scores."""
    import av

    from edged.assembly.model import load_model
    from edged.config.schema import Engine, Model
    from tests.fakes import frame_of

    with tempfile.TemporaryDirectory() as folder:
        bundle = _imported(data / "weights" / "yolov5n.pt", Path(folder))
        model = load_model(Model(bundle=bundle), Engine(backend="cpu"))
        person = model.bundle.manifest.classes.index("person")
        found = {}
        for number, picture in zip(range(FRAMES), av.open(data / "videos" / "pets.mp4").decode(video=0), strict=False):
            model.detector.submit([frame_of(np.asarray(picture.to_ndarray(format="bgr24"), np.uint8), sequence=number)])
            (result,) = model.detector.collect()
            people = result.detections.class_id == person
            found[f"boxes{number}"] = result.detections.xyxy[people]
            found[f"scores{number}"] = result.detections.confidence[people]
        model.detector.close()
    np.savez(target, **found)


def _imported(weights: Path, store: Path) -> Path:
    import subprocess

    command = ["import", str(weights), "--name", "walkers", "--size", "640", "--store", str(store)]
    subprocess.run([sys.executable, "-m", "provisioning", *command], check=True, stdout=subprocess.DEVNULL)
    return store / "walkers"


def ours(_fps: float) -> Step:
    """The tracker, with the defaults of `[track]` and `[filter.default]`."""
    from edged.analysis.options import FilterOptions, TrackOptions
    from edged.analysis.tracking.tracker import Tracker

    limits, track_options = FilterOptions(), TrackOptions()
    tracker = Tracker(
        sure=lambda _: limits.min_score,
        confirms=lambda track: track.age_s >= track_options.confirm_s - 1e-6 and track.median >= limits.confirm_score,
        lost_s=track_options.lost_s,
    )

    def step(at_s: float, boxes: Array, scores: Array) -> tuple[Array, Array]:
        tracks = tracker.update(at_s, boxes, scores, ["person"] * len(boxes)) or []
        tracker.drop_gone()
        known = [index for index, track in enumerate(tracks) if track is not None and track.confirmed]
        return np.array([tracks[index].serial for index in known], int), boxes[known]  # type: ignore[union-attr]

    return step


def theirs(kind: Any) -> Maker:
    """A tracker of `trackers`, with its own defaults."""

    def make(fps: float) -> Step:
        import supervision

        tracker = kind(frame_rate=fps)

        def step(_: float, boxes: Array, scores: Array) -> tuple[Array, Array]:
            found = supervision.Detections.empty()
            if len(boxes):
                found = supervision.Detections(
                    boxes.astype(np.float32), confidence=scores, class_id=np.zeros(len(boxes), int)
                )
            found = tracker.update(found)
            known = found.tracker_id >= 0 if found.tracker_id is not None else np.zeros(0, bool)
            return (found.tracker_id[known], found.xyxy[known]) if known.any() else (np.empty(0, int), np.empty((0, 4)))

        return step

    return make


def scores(make: Maker, data: Path, found: Any) -> list[tuple[float, float, float]]:
    """IDF1, HOTA (percent) and identity switches at each rate, means over every phase."""
    truth = np.loadtxt(data / "videos" / "pets-gt-001-069.txt", delimiter=",")
    rates = []
    for stride in STRIDES:
        phases = [
            _score(make(VIDEO_FPS / stride), range(phase, FRAMES, stride), truth, found) for phase in range(stride)
        ]
        rates.append(tuple(np.mean(phases, axis=0).tolist()))
    return rates


def _score(step: Step, frames: range, truth: Array, found: Any) -> tuple[float, float, float]:
    from trackers.eval import compute_clear_metrics, compute_hota_metrics, compute_identity_metrics
    from trackers.eval.box import box_iou

    true_ids, ids, likeness = [], [], []
    for number in frames:
        now = truth[truth[:, 0] == number + 1]
        corner, size = now[:, 2:4] / TRUTH_SCALE, now[:, 4:6] / TRUTH_SCALE
        seen, boxes = step(
            number / VIDEO_FPS, found[f"boxes{number}"].astype(float), found[f"scores{number}"].astype(float)
        )
        true_ids.append(now[:, 1].astype(int))
        ids.append(np.asarray(seen, int))
        likeness.append(box_iou(np.concatenate([corner, corner + size], 1), boxes.reshape(-1, 4), box_format="xyxy"))
    true_ids, ids = _from_zero(true_ids), _from_zero(ids)
    identity = compute_identity_metrics(true_ids, ids, likeness, threshold=0.5)
    switches = compute_clear_metrics(true_ids, ids, likeness, threshold=0.5)["IDSW"]
    return 100 * identity["IDF1"], 100 * compute_hota_metrics(true_ids, ids, likeness)["HOTA"], float(switches)


def _from_zero(ids: list[Array]) -> list[Array]:
    number = {each: index for index, each in enumerate(sorted({each for frame in ids for each in frame.tolist()}))}
    return [np.array([number[each] for each in frame.tolist()], int) for frame in ids]


def table(data: Path, detections: Path) -> int:
    """Print the table; 1 where a target is missed."""
    import trackers
    from trackers.core.cbiou.tracker import CBIoUTracker

    warnings.simplefilter("ignore")
    found = np.load(detections)
    makers: dict[str, Maker] = {
        "SORT": theirs(trackers.SORTTracker),
        "ByteTrack": theirs(trackers.ByteTrackTracker),
        "OC-SORT": theirs(trackers.OCSORTTracker),
        "C-BIoU": theirs(CBIoUTracker),
        "edged": ours,
    }
    print("| IDF1 / HOTA / switches | " + " | ".join(f"{VIDEO_FPS / stride:.3g} fps" for stride in STRIDES) + " |")
    print("|---|" + "---|" * len(STRIDES))
    results = {}
    for name, make in makers.items():
        results[name] = scores(make, data, found)
        cells = (f"{idf1:.1f} / {hota:.1f} / {switches:.1f}" for idf1, hota, switches in results[name])
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    edged = [idf1 for idf1, *_ in results.pop("edged")]
    best = [max(column) for column in zip(*[[idf1 for idf1, *_ in rates] for rates in results.values()], strict=True)]
    below = max(other - mine for mine, other in zip(edged, best, strict=True))
    print(f"\nat most {below:.1f} points of IDF1 below the best of the others (target {MOST_BELOW:g}), "
          f"{edged[-1]:.1f} at 2 frames a second (target {LEAST_AT_2_FPS:g})")  # fmt: skip
    return int(below > MOST_BELOW or edged[-1] < LEAST_AT_2_FPS)


if __name__ == "__main__":
    what, folder, file = sys.argv[1:]
    if what == "look":
        look(Path(folder), Path(file))
    else:
        sys.exit(table(Path(folder), Path(file)))
