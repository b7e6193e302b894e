"""Areas against shapely's rules in closed form: a raster of points against winding numbers."""

from __future__ import annotations

from math import atan2, cos, pi, sin

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edged.analysis.geometry import Point, Polygon, require_points, require_polygon

SQUARE: list[Point] = [(0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8)]


def winding(points: list[Point], point: Point) -> int:
    """How often the polygon goes around `point`, by summing the angles: another way than the parity of crossings."""
    total = 0.0
    for (ax, ay), (bx, by) in zip(points, [*points[1:], points[0]], strict=True):
        px, py, qx, qy = ax - point[0], ay - point[1], bx - point[0], by - point[1]
        total += atan2(px * qy - py * qx, px * qx + py * qy)
    return round(total / (2 * pi))


@given(
    st.lists(st.tuples(st.floats(0.05, 0.5), st.floats(0.05, 1.0)), min_size=3, max_size=12),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_star_shaped_area_contains_what_it_winds_around(rays: list[tuple[float, float]], point: Point) -> None:
    total = sum(step for _, step in rays)
    angle, points = 0.0, []
    for radius, step in rays:
        points.append((0.5 + radius * cos(angle), 0.5 + radius * sin(angle)))
        angle += step / total * 2 * pi
    assume(max(step for _, step in rays) / total < 0.49)  # the centre must see every corner
    points = [(min(1.0, max(0.0, x)), min(1.0, max(0.0, y))) for x, y in points]
    distances = [abs((b[0] - a[0]) * (point[1] - a[1]) - (b[1] - a[1]) * (point[0] - a[0]))
                 for a, b in zip(points, [*points[1:], points[0]], strict=True)]  # fmt: skip
    assume(min(distances) > 1e-6)
    assert Polygon(points).contains(point) == bool(winding(points, point))


@pytest.mark.parametrize("point", [(0.2, 0.2), (0.5, 0.2), (0.8, 0.5), (0.2, 0.8), (0.5, 0.5)])
def test_border_belongs_to_the_area(point: Point) -> None:
    assert Polygon(SQUARE).contains(point)
    assert Polygon(SQUARE[::-1]).contains(point), "in either direction"


@pytest.mark.parametrize("point", [(0.1, 0.5), (0.9, 0.5), (0.5, 0.19), (0.5, 0.81), (0.2, 0.81)])
def test_outside_is_outside(point: Point) -> None:
    assert not Polygon(SQUARE).contains(point)


@pytest.mark.parametrize(
    ("points", "said"),
    [
        pytest.param([(0, 0), (1, 1)], "expected 3 to 200 points, got 2", id="too few"),
        pytest.param([(0, 0), (1, 1), (1, 0), (0, 1)], "it crosses itself", id="bow tie"),
        pytest.param([(0, 0), (0.5, 0.5), (1, 1)], "encloses nothing", id="on a line"),
        pytest.param([(0, 0), (1, 0), (0.5, 0)], "encloses nothing|crosses itself", id="back on itself"),
        pytest.param([(0, 0), (1, 0), (1, 0), (1, 1)], r"point 2 and the next are the same, \[1, 0\]", id="twice"),
        pytest.param([(0, 0), (1, 0), (1, 1), (0, 0)], "point 4 and the next are the same", id="closed by hand"),
        pytest.param([(0, 0), (1.5, 0), (1, 1)], r"point 2 is \[1.5, 0\]: expected fractions", id="beyond"),
        pytest.param([(0, 0), (640, 0), (640, 360)], r"point 2 is \[640, 0\]: expected fractions", id="pixels"),
        pytest.param(
            [(0, 0), (1, 0), (1, 1), (0.5, 0), (0, 1)], "the side after point 1 and the one after point", id="touches"
        ),
        pytest.param([(0, 0), (1, 0), (1, 1), (1, 0.5), (0, 1)], "crosses itself", id="spike"),
    ],
)
def test_area_that_cannot_be_is_refused(points: list[Point], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        require_polygon(points)


def test_line_needs_two_points() -> None:
    with pytest.raises(ValueError, match="expected 2 points, got 3"):
        require_points([(0, 0), (1, 1), (0, 1)], least=2, most=2)
    with pytest.raises(ValueError, match="point 1 and the next are the same"):
        require_points([(0.5, 0.5), (0.5, 0.5)], least=2, most=2)
