from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from provisioning.data.labels import Severity, parse_labels, read_labels

HERE = Path("a.txt")


def test_parse_labels_of_nothing_is_background() -> None:
    labels, defects = parse_labels("", HERE, classes=1)
    assert len(labels) == 0
    assert labels.cxcywh.shape == (0, 4)
    assert defects == []


def test_parse_labels_reads_sound_lines() -> None:
    labels, defects = parse_labels("0 0.5 0.5 0.25 1\n\n1.0 0.1 0.2 0.2 0.4\r\n", HERE, classes=2)
    assert defects == []
    assert labels.class_id.tolist() == [0, 1]
    np.testing.assert_allclose(labels.cxcywh, [[0.5, 0.5, 0.25, 1], [0.1, 0.2, 0.2, 0.4]])


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        pytest.param("2 .5 .5 .1 .1", "class id out of range", id="class too high"),
        pytest.param("-1 .5 .5 .1 .1", "class id out of range", id="class negative"),
        pytest.param("0.5 .5 .5 .1 .1", "class id not an integer", id="class fractional"),
        pytest.param("nan .5 .5 .1 .1", "class id not an integer", id="class NaN"),
        pytest.param("1e400 .5 .5 .1 .1", "class id not an integer", id="class infinite"),
        pytest.param("cat .5 .5 .1 .1", "not a number", id="class as text"),
        pytest.param("0 1.01 .5 .1 .1", "value outside 0..1", id="x above 1"),
        pytest.param("0 .5 -.1 .1 .1", "value outside 0..1", id="y negative"),
        pytest.param("0 nan .5 .1 .1", "value outside 0..1", id="NaN"),
        pytest.param("0 320 240 50 80", "value outside 0..1", id="pixels"),
        pytest.param("0 .5 .5 0 .1", "degenerate box", id="no width"),
        pytest.param("0 .5 .5 .1", "wrong number of fields", id="four fields"),
        pytest.param("0 .1 .1 .2 .2 .3 .1", "wrong number of fields", id="polygon"),
    ],
)
def test_parse_labels_reports_a_bad_line_with_its_number(line: str, kind: str) -> None:
    labels, defects = parse_labels(f"1 .5 .5 .1 .1\n{line}\n", HERE, classes=2)
    assert len(labels) == 1
    assert [(defect.line, defect.severity, defect.kind) for defect in defects] == [(2, Severity.ERROR, kind)]
    assert str(defects[0]).startswith("a.txt:2: error: ")


def test_parse_labels_takes_the_box_around_a_polygon_when_asked() -> None:
    text = "0 .25 .25 .625 .25 .625 .75 .25 .75\n1 .5 .5 .2 .4\n0 -.005 .2 .4 .6 .1 1.004\n"
    labels, defects = parse_labels(text, HERE, classes=2, polygons=True)
    assert defects == []
    assert (labels.class_id.tolist(), labels.polygons) == ([0, 1, 0], 2)
    np.testing.assert_allclose(
        labels.cxcywh, [[0.4375, 0.5, 0.375, 0.5], [0.5, 0.5, 0.2, 0.4], [0.2, 0.6, 0.4, 0.8]], atol=1e-6
    )


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        pytest.param("0 .1 .1 .2 .2 .3", "wrong number of fields", id="a corner of one number"),
        pytest.param("0 .1 .1 .2 .2 .3 nan", "value outside 0..1", id="NaN"),
        pytest.param("0 .1 .1 .2 .2 .3 1.2", "value outside 0..1", id="far outside"),
        pytest.param("0 10 10 20 20 30 10", "value outside 0..1", id="pixels"),
        pytest.param("0 .1 .1 .1 .2 .1 .3", "degenerate box", id="no width"),
        pytest.param("2 .1 .1 .2 .2 .3 .1", "class id out of range", id="class"),
        pytest.param("0 .1 .1 .2 .2 .3 x", "not a number", id="text"),
    ],
)
def test_parse_labels_reports_a_bad_polygon(line: str, kind: str) -> None:
    labels, defects = parse_labels(line, HERE, classes=2, polygons=True)
    assert (len(labels), [defect.kind for defect in defects]) == (0, [kind])


def test_parse_labels_warns_of_a_duplicate_and_keeps_it() -> None:
    labels, defects = parse_labels("0 .5 .5 .1 .1\n1 .5 .5 .1 .1\n0 0.50 .5 .1 .1\n", HERE, classes=2)
    assert len(labels) == 3
    assert [(defect.line, defect.kind, defect.severity) for defect in defects] == [
        (3, "duplicate box", Severity.WARNING)
    ]
    assert "line 1" in defects[0].message


def test_parse_labels_warns_of_a_box_over_the_edge() -> None:
    labels, defects = parse_labels("0 .05 .5 .2 .1\n0 .0999 .5 .2 .1\n", HERE, classes=1)
    assert len(labels) == 2
    assert [(defect.line, defect.kind) for defect in defects] == [(1, "box outside the picture")]


def test_read_labels_reports_what_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"0 .5 \xe9")
    labels, defects = read_labels(path, classes=1)
    assert len(labels) == 0
    assert [defect.kind for defect in defects] == ["unreadable labels"]


def test_read_labels_takes_utf16_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("0 .5 .5 .1 .1\r\n".encode("utf-16"))
    labels, defects = read_labels(path, classes=1)
    assert (len(labels), defects) == (1, [])


def test_read_labels_ignores_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf0 .5 .5 .1 .1")
    labels, defects = read_labels(path, classes=1)
    assert (len(labels), defects) == (1, [])
