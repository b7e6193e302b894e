"""Zones, masks and filters, in pixels and in fractions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.migrate.migrated import MINIMAL, camera, migrated

CROSSING = (
    "# zone drive is left out: it crosses itself: the side after point 1 and the one after point 3 meet; give the"
    " corners in order, around the area"
)
TRIANGLE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))
NO_SIZE = MINIMAL.replace("detect: {width: 1280, height: 720}", "detect: {height: 720}")


def zone(coordinates: str, more: str = "") -> str:
    return camera(
        f"zones:\n  drive:\n    coordinates: {coordinates}\n" + "".join(f"    {line}\n" for line in more.split("\n"))
    )


@pytest.mark.parametrize(
    ("coordinates", "points"),
    [
        pytest.param("0,0,1,0,1,1", TRIANGLE, id="fractions"),
        pytest.param("0.000,0.000,1.000,0.000,1.000,1.000", TRIANGLE, id="fractions-as-frigate-writes-them"),
        pytest.param("0,0,1280,0,1280,720", TRIANGLE, id="pixels"),
        pytest.param("[0, 0, 1280, 0, 1280, 720]", TRIANGLE, id="list-of-numbers"),
        pytest.param('["0,0", "1280,0", "1280,720"]', TRIANGLE, id="list-of-points"),
        pytest.param("' 0, 0 , 640,0,640.0 ,360'", ((0.0, 0.0), (0.5, 0.0), (0.5, 0.5)), id="blanks"),
        pytest.param("0,0,1281,0,1280,721", TRIANGLE, id="a-pixel-over"),
        pytest.param("-1,-1,1280,0,1280,720", TRIANGLE, id="a-pixel-under"),
        pytest.param("0,0,1.0007,0,1.0007,1.001", TRIANGLE, id="fractions-a-pixel-over"),
        pytest.param("-0.0005,0,1,0,1,1", TRIANGLE, id="fractions-a-pixel-under"),
        pytest.param("0,0,0,0,1,0,1,1,0,0", TRIANGLE, id="closed-and-twice"),
        pytest.param("1,1,2,1,2,2", ((0.00078, 0.00139), (0.00156, 0.00139), (0.00156, 0.00278)), id="small-pixels"),
    ],
)
def test_coordinates_are_read_as_frigate_reads_them(
    tmp_path: Path, coordinates: str, points: tuple[tuple[float, float], ...]
) -> None:
    ((drive,),) = (each.zone for each in migrated(tmp_path, zone(coordinates)).settings.camera)
    assert drive.points == points


@pytest.mark.parametrize(
    ("coordinates", "reason"),
    [
        pytest.param("0,0,1,1,1,0,0,1", "it crosses itself: the side after point 1", id="crossing"),
        pytest.param("0,0,0.5,0.5,1,1", "its points lie on one line", id="line"),
        pytest.param("0,0,1282,0,1280,720", "point 2 lies more than a pixel outside the picture", id="outside"),
        pytest.param("-2,0,1280,0,1280,720", "point 1 lies more than a pixel outside the picture", id="below"),
        pytest.param("0,0,1.2,0,1,1", "its coordinates are neither fractions, 0 to 1, nor whole pixels", id="mixed"),
        pytest.param("0,0,640.5,0,640,360", "its coordinates are neither fractions", id="half-pixels"),
        pytest.param("0,0,1,0,1", "5 numbers: expected pairs x,y of three points or more", id="odd"),
        pytest.param("0,0,1,0", "4 numbers: expected pairs", id="two-points"),
        pytest.param("5", "1 numbers: expected pairs", id="number"),
        pytest.param("0,0,1,0,1,x", "'x' is no number", id="letters"),
        pytest.param("0,0,1,0,1,", "'' is no number", id="comma-at-the-end"),
        pytest.param("0,0,1,0,1,nan", "'nan' is no number", id="nan"),
        pytest.param("[]", "0 numbers", id="nothing"),
        pytest.param("", "it has no coordinates", id="missing"),
        pytest.param(",".join(f"{n},{n * n % 720}" for n in range(300)), "expected 3 to 200 points", id="many"),
    ],
)
def test_a_zone_that_edged_cannot_have_becomes_comments_with_the_reason(
    tmp_path: Path, coordinates: str, reason: str
) -> None:
    made = migrated(tmp_path, zone(coordinates))
    assert made.settings.camera[0].zone == ()
    assert f"\n# zone drive is left out: {reason}" in made.text
    assert made.has("# [[camera.zone]]", '# name = "drive"')


def test_a_zone_that_crosses_itself_can_be_mended_where_it_stands(tmp_path: Path) -> None:
    made = migrated(tmp_path, zone("0,0,1,1,1,0,0,1", "objects: [car]"))
    assert made.block("gate")[-5:] == [
        CROSSING,
        "# [[camera.zone]]",
        '# name = "drive"',
        "# points = [[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0]]",
        '# labels = ["car"]',
    ]


def test_pixels_of_a_picture_of_unknown_size_are_not_guessed(tmp_path: Path) -> None:
    text = NO_SIZE + "        zones: {drive: {coordinates: '0,0,640,0,640,360'}, all: {coordinates: '0,0,1,0,1,1'}}\n"
    text += "        objects: {mask: '0,0,640,0,640,360', filters: {person: {min_area: 5000, max_area: 0.5}}}\n"
    made = migrated(tmp_path, text)
    assert [each.name for each in made.settings.camera[0].zone] == ["all"]
    assert made.settings.camera[0].mask == ()
    assert made.settings.filter["person"].model_dump(exclude_unset=True) == {"max_area": 0.5}
    lacks = "its coordinates are pixels, and the file lacks detect.width: add that and run this again, or divide each x"
    assert made.has(
        f"# zone drive is left out: {lacks} by the width, each y by the height",
        f"# mask is left out: {lacks} by the width, each y by the height",
        "# its coordinates in Frigate: 0,0,640,0,640,360",
        "# min_area is left out: it is 5000 pixels, and the file lacks detect.width of gate: divide it by width times"
        " height",
    )


def test_the_size_of_the_picture_may_stand_for_all_cameras(tmp_path: Path) -> None:
    text = """
        detect: {width: 640, height: 480}
        cameras:
          gate:
            detect: {height: 720}
            ffmpeg: {inputs: [{path: rtsp://10.0.0.9/s}]}
            zones: {z: {coordinates: "0,0,640,0,640,720"}}
    """
    assert migrated(tmp_path, text).settings.camera[0].zone[0].points == TRIANGLE


def test_zones_keep_labels_inertia_and_loitering(tmp_path: Path) -> None:
    text = """
        detect: {width: 1280, height: 720, fps: 10}
        zones:
          Front_Steps:
            friendly_name: Front steps
            coordinates: 0,0,1,0,1,1
            inertia: 3
            loitering_time: 4
            objects: [person, traffic light]
          street:
            coordinates: 0,0,1,0,1,1
            objects: car
            distances: 10,12,11,13.5
            speed_threshold: 20
          both: {coordinates: "0,0,1,0,1,1", objects: "car, dog"}
          off: {coordinates: "0,0,1,0,1,1", enabled: false}
    """
    made = migrated(tmp_path, camera(text).replace("        detect: {width: 1280, height: 720}\n", ""))
    steps, street, both = made.settings.camera[0].zone
    assert steps.model_dump(exclude_unset=True) == {
        "name": "front_steps",
        "points": TRIANGLE,
        "labels": ("person", "traffic light"),
        "enter_s": 0.3,
        "loiter_s": 4,
    }
    assert street.model_dump(exclude_unset=True) == {"name": "street", "points": TRIANGLE, "labels": ("car",)}
    assert both.labels == ("car", "dog")
    assert made.has(
        "# zone 'Front_Steps' of Frigate: names are a-z 0-9 _ -",
        "# friendly_name: edged has the name alone",
        "# distances: edged measures no speed",
        "# zone off is left out: Frigate has it switched off",
    )


def test_a_zone_with_times_that_edged_refuses_says_which(tmp_path: Path) -> None:
    made = migrated(tmp_path, zone("0,0,1,0,1,1", "inertia: 1000000"))
    assert made.has(
        "# zone drive is left out: enter_s: input should be less than or equal to 86400", "# enter_s = 200000.0"
    )


def test_masks_of_all_and_of_one_label(tmp_path: Path) -> None:
    text = """
        objects:
          track: [person, car]
          mask: ["0,0,640,0,640,360", "0,0,1,0,1,1", "0,0,2000,0,640,360"]
          filters:
            person: {mask: "0,0,0.5,0,0.5,0.5"}
            cat: {mask: "0,0,0.5,0,0.5,0.5"}
    """
    made = migrated(tmp_path, camera(text))
    half = ((0.0, 0.0), (0.5, 0.0), (0.5, 0.5))
    assert [(mask.points, mask.labels) for mask in made.settings.camera[0].mask] == [
        (half, ()),
        (TRIANGLE, ()),
        (half, ("person",)),
    ]
    assert made.has("# mask is left out: point 2 lies more than a pixel outside the picture")


def test_a_camera_masks_of_its_own_replace_those_of_all(tmp_path: Path) -> None:
    general = "objects: {mask: '0,0,1,0,1,1', filters: {person: {mask: ['0,0,1,0,1,1']}}}\n"
    text = general + camera("objects: {mask: '0,0,0.5,0,0.5,0.5'}").replace("\n    ", "\n")
    made = migrated(tmp_path, text)
    assert [mask.labels for mask in made.settings.camera[0].mask] == [(), ("person",)]
    assert made.settings.camera[0].mask[0].points[1] == (0.5, 0.0)


def test_masks_with_names_as_frigate_writes_them_since_018(tmp_path: Path) -> None:
    text = """
        objects:
          mask:
            object_mask_1: {friendly_name: Sky, enabled: true, coordinates: "0,0,1,0,1,1"}
            object_mask_2: {enabled: false, coordinates: "0,0,1,0,1,1"}
            object_mask_3: {coordinates: ""}
    """
    made = migrated(tmp_path, camera(text))
    assert [mask.points for mask in made.settings.camera[0].mask] == [TRIANGLE]
    assert made.has("# object mask object_mask_1 of Frigate", "# mask is left out: Frigate has it switched off")


TWO = """
objects:
  track: [person, car]
  filters:
    person: {{min_area: 9216, threshold: 0.7, {person}}}
    car: {{min_ratio: 0.5, max_ratio: 24000000, max_area: 24000000}}
    cat: {{min_score: 0.6}}
cameras:
  gate:
    ffmpeg: {{inputs: [{{path: rtsp://10.0.0.9/s}}]}}
    detect: {{width: 1280, height: 720}}
    objects: {{filters: {{person: {{{gate}}}}}}}
  yard:
    ffmpeg: {{inputs: [{{path: rtsp://10.0.0.8/s}}]}}
    detect: {{width: 640, height: 360}}
    objects: {{track: [person], filters: {{person: {{{yard}}}}}}}
"""


def test_filters_hold_for_all_cameras_and_differences_are_said(tmp_path: Path) -> None:
    text = TWO.format(person="min_score: 0.5", gate="min_score: 0.6, max_area: 0.2", yard="max_ratio: 3, max_area: 0.3")
    made = migrated(tmp_path, text)
    assert {label: each.model_dump(exclude_unset=True) for label, each in made.settings.filter.items()} == {
        "person": {"min_score": 0.5, "confirm_score": 0.7, "min_area": 0.01, "max_area": 0.3},
        "car": {"max_area": 1.0, "min_ratio": 0.5, "max_ratio": 100.0},
    }
    assert made.has(
        "# min_score: cameras differ in Frigate (gate 0.6, yard 0.5); edged's filters hold for all of them",
        "# min_area: cameras differ in Frigate (gate 0.01, yard 0.04); edged's filters hold for all of them",
        "# max_ratio: cameras differ in Frigate (gate none, yard 3); edged's filters hold for all of them",
        "# objects.filters.cat: no camera tracks it",
    )


@pytest.mark.parametrize(
    ("person", "line"),
    [
        pytest.param(
            "min_score: 50", "# min_score = 50 is left out: input should be less than or equal to 1", id="range"
        ),
        pytest.param("max_area: 10", "# min_area = 0.01 is left out: min_area 0.01 is not below max_area", id="order"),
        pytest.param("sparkle: 1", "# sparkle: edged has nothing like it", id="unknown"),
    ],
)
def test_limits_that_edged_refuses_are_named(tmp_path: Path, person: str, line: str) -> None:
    made = migrated(tmp_path, TWO.format(person=person, gate="", yard=""))
    assert f"\n{line}" in made.text


def test_a_label_of_several_words_is_a_key_in_quotes(tmp_path: Path) -> None:
    made = migrated(
        tmp_path, camera('objects: {track: ["traffic light"], filters: {"traffic light": {threshold: 0.8}}}')
    )
    assert made.settings.filter["traffic light"].confirm_score == 0.8


def test_a_label_that_means_all_classes_in_edged_is_not_taken(tmp_path: Path) -> None:
    made = migrated(tmp_path, camera("objects: {track: [default], filters: {default: {threshold: 0.8}}}"))
    assert not made.settings.filter
    assert "# objects.filters.default: in edged this name stands for all classes" in made.text
