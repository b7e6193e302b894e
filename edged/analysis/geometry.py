"""Polygons and lines over a picture: points are fractions of its width and height, (0, 0) the upper left corner."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

Point = tuple[float, float]
MOST_POINTS = 200
_ON_EDGE = 1e-9


def require_points(points: Sequence[Point], *, least: int, most: int = MOST_POINTS) -> None:
    """Raise ValueError unless there are `least` to `most` points, all within the picture and each unlike the next."""
    if not least <= len(points) <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        raise ValueError(f"expected {wanted} points, got {len(points)}")
    for number, (x, y) in enumerate(points, start=1):
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise ValueError(
                f"point {number} is [{x:g}, {y:g}]: expected fractions, 0 to 1, of the upright picture's sides"
            )
    for number, (here, there) in enumerate(zip(points, [*points[1:], points[0]], strict=True), start=1):
        if here == there:
            raise ValueError(f"point {number} and the next are the same, [{here[0]:g}, {here[1]:g}]")


def require_polygon(points: Sequence[Point]) -> None:
    """Raise ValueError unless the points, joined in this order and closed, enclose one area."""
    require_points(points, least=3)
    if all(abs(side(points[0], points[1], point)) <= _ON_EDGE for point in points):
        raise ValueError("its points lie on one line: it encloses nothing")
    edges = list(zip(points, [*points[1:], points[0]], strict=True))
    for (first, one), (second, other) in combinations(enumerate(edges), 2):
        neighbours = second - first == 1 or (first == 0 and second == len(edges) - 1)
        if _fold_back(one, other) if neighbours else _meet(one, other):
            raise ValueError(
                f"it crosses itself: the side after point {first + 1} and the one after point {second + 1} meet;"
                " give the corners in order, around the area"
            )


def side(a: Point, b: Point, point: Point) -> float:
    """Above 0 where `point` lies right of the arrow from `a` to `b` as seen in the picture, below 0 left, 0 on it."""
    return (b[0] - a[0]) * (point[1] - a[1]) - (b[1] - a[1]) * (point[0] - a[0])


def _within(a: Point, b: Point, point: Point) -> bool:
    """Whether `point`, on the line through both, lies between them."""
    return min(a[0], b[0]) <= point[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= point[1] <= max(a[1], b[1])


def _meet(one: tuple[Point, Point], other: tuple[Point, Point]) -> bool:
    """Whether two segments share a point."""
    (a, b), (c, d) = one, other
    sides = side(a, b, c), side(a, b, d), side(c, d, a), side(c, d, b)
    if sides[0] * sides[1] < 0 and sides[2] * sides[3] < 0:
        return True
    touching = ((sides[0], a, b, c), (sides[1], a, b, d), (sides[2], c, d, a), (sides[3], c, d, b))
    return any(not value and _within(start, end, point) for value, start, end, point in touching)


def _fold_back(one: tuple[Point, Point], other: tuple[Point, Point]) -> bool:
    """Whether two sides that share a corner lie on each other."""
    corner = one[1] if one[1] == other[0] else one[0]
    a, b = (one[0] if corner == one[1] else one[1]), (other[1] if corner == other[0] else other[0])
    along = (a[0] - corner[0]) * (b[0] - corner[0]) + (a[1] - corner[1]) * (b[1] - corner[1])
    return not side(corner, a, b) and along > 0


class Polygon:
    """An area of the picture; its border belongs to it.

    Args:
        points: corners in order, closed by the first; checked with `require_polygon`.
    """

    def __init__(self, points: Sequence[Point]) -> None:
        require_polygon(points)
        self._edges = tuple(zip(points, [*points[1:], points[0]], strict=True))
        self._left, self._right = min(x for x, _ in points), max(x for x, _ in points)
        self._top, self._bottom = min(y for _, y in points), max(y for _, y in points)

    def contains(self, point: Point) -> bool:
        """Whether `point` lies inside or on the border, by the parity of crossings to its right."""
        x, y = point
        if not (self._left <= x <= self._right and self._top <= y <= self._bottom):
            return False
        inside = False
        for a, b in self._edges:
            if abs(side(a, b, point)) <= _ON_EDGE and _within(a, b, point):
                return True
            if (a[1] > y) != (b[1] > y) and x < a[0] + (y - a[1]) * (b[0] - a[0]) / (b[1] - a[1]):
                inside = not inside
        return inside
