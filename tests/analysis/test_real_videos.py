"""Events of real videos, beside what a person counts who looks at them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# one-by-one-person.mp4: six people come to a table from the left, one after the other, stay, and leave to the right.
# When each can be seen, seconds, to the half.
VISITS = [(6.0, 19.5), (22.5, 45.0), (50.0, 70.0), (74.0, 87.0), (92.0, 120.0), (123.0, 136.0)]
# pets.mp4: the ground truth of its first 69 frames has six walkers. Three of them meet in the middle and hide each
# other.
WALKERS, WALKERS_S, SPLIT = 6, 6.9, 2


@pytest.fixture(scope="module")
def model(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("models")
    weights = test_data / "weights" / "yolov5n.pt"
    provision("import", weights, "--name", "yolov5n", "--size", "640", "--store", store)
    return store / "yolov5n"


def provision(*arguments: object) -> None:
    command = [sys.executable, "-m", "provisioning", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def events(video: Path, model: Path, folder: Path, *more: str) -> list[dict[str, Any]]:
    """Starts and ends of people, with the seconds of the video at which the object was first and last seen."""
    target = folder / "events.jsonl"
    command = ["detect", video, "--model", model, "--classes", "person", "--events", target, *more]
    subprocess.run([sys.executable, "-m", "edged", *map(str, command)], check=True, stdout=subprocess.DEVNULL)
    told = [json.loads(line) for line in target.read_text().splitlines()]
    for each in told:
        each["last_s"] = each["frame"]["sequence"] / 10  # both videos have ten frames a second
        each["first_s"] = each["last_s"] - each["duration_s"]
    starts, ends = ([each for each in told if each["type"] == kind] for kind in ("start", "end"))
    assert sorted(each["event"] for each in starts) == sorted(each["event"] for each in ends)
    return sorted(ends, key=lambda each: float(each["first_s"]))


def test_six_visitors_are_six_events(test_data: Path, model: Path, tmp_path: Path) -> None:
    ends = events(test_data / "videos" / "one-by-one-person.mp4", model, tmp_path)
    assert [(each["first_s"], each["last_s"]) for each in ends] == [
        (pytest.approx(first, abs=1.0), pytest.approx(last, abs=1.0)) for first, last in VISITS
    ]
    assert [each["continues"] for each in ends] == [None] * len(VISITS), "each is somebody else"
    assert [each["because"][0] for each in ends[:-1]] == ["left"] * (len(VISITS) - 1)


def test_walkers_are_about_as_many_events(test_data: Path, model: Path, tmp_path: Path) -> None:
    ends = events(test_data / "videos" / "pets.mp4", model, tmp_path, "--frames", "69")
    begun = [each for each in ends if each["first_s"] <= WALKERS_S]
    assert WALKERS <= len(begun) <= WALKERS + SPLIT
