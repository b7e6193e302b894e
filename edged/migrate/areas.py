"""Frigate's coordinates -> edged's points; zones and masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from edged.config.watching import Mask, Zone
from edged.migrate.nodes import Node
from edged.migrate.reasons import reason_of
from edged.migrate.remarks import zone_remarks
from edged.migrate.sections import LeftOut, Section, number_of, wrong
from edged.migrate.toml import remark, settings, switched_off

_DIGITS = 5  # of a fraction: a hundredth of a pixel in a picture of 1000
_LEAST_NUMBERS = 6
_MOST_SHOWN = 400  # letters of coordinates in a comment
_TINY = 1e-9

Points = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Picture:
    """Size of the picture that Frigate detects on; 0 where the file does not say it.

    Attributes:
        width, height: pixels.
    """

    width: float
    height: float

    @property
    def known(self) -> bool:
        """Whether the file says both."""
        return bool(self.width and self.height)

    @property
    def missing(self) -> str:
        """What the file does not say."""
        return " and ".join(f"detect.{side}" for side in ("width", "height") if not getattr(self, side))


def points_of(node: Node, picture: Picture) -> Points:
    """Corners as fractions of the picture, none equal to the next.

    Args:
        node: `"x1,y1,x2,y2,..."`, or a list of numbers or of such texts; fractions where none is above 1, else pixels.
        picture: what pixels are pixels of.

    Raises:
        LeftOut: no coordinates, pixels of a picture of unknown size, or more than a pixel outside it.
        DataError: a value of another type.
    """
    values = _numbers(node)
    if len(values) % 2 or len(values) < _LEAST_NUMBERS:
        raise LeftOut(f"{len(values)} numbers: expected pairs x,y of three points or more")
    one_pixel = (1 / picture.width, 1 / picture.height) if picture.known else (0.0, 0.0)
    if max(values) <= 1 or _are_fractions(values, one_pixel):
        scale = (1.0, 1.0)
    elif any(value != int(value) for value in values):
        raise LeftOut("its coordinates are neither fractions, 0 to 1, nor whole pixels")
    elif not picture.known:
        raise LeftOut(
            f"its coordinates are pixels, and the file lacks {picture.missing}: add that and run this again,"
            " or divide each x by the width, each y by the height"
        )
    else:
        scale = (picture.width, picture.height)
    points: Points = []
    for number, pair in enumerate(zip(values[::2], values[1::2], strict=True), start=1):
        x, y = (_inside(value / of, pixel, number) for value, of, pixel in zip(pair, scale, one_pixel, strict=True))
        if not points or points[-1] != (x, y):
            points.append((x, y))
    return points[:-1] if len(points) > 1 and points[0] == points[-1] else points


def _numbers(node: Node) -> list[float]:
    if isinstance(node.value, dict):
        raise wrong(node, "coordinates: x1,y1,x2,y2,...")
    parts = node.value if isinstance(node.value, tuple) else (node,)
    found: list[float] = []
    for part in parts:
        if isinstance(part.value, (dict, tuple)):
            raise wrong(part, "a number, or a text of numbers")
        for text in part.text.split(","):
            number = number_of(Node(text.strip(), part.place, text.strip()))
            if number is None:
                raise LeftOut(f"{text.strip()[:20]!r} is no number")
            found.append(number)
    return found


def _are_fractions(values: list[float], one_pixel: tuple[float, float]) -> bool:
    """Whether they are fractions of which some are beyond the picture's edge by a pixel at most."""
    within = all(value <= 1 + one_pixel[number % 2] + _TINY for number, value in enumerate(values))
    return within and any(value != int(value) for value in values)


def _inside(fraction: float, pixel: float, number: int) -> float:
    """The fraction, moved to the edge of the picture where it is outside by no more than `pixel`."""
    if not -pixel - _TINY <= fraction <= 1 + pixel + _TINY:
        raise LeftOut(f"point {number} lies more than a pixel outside the picture")
    return round(min(max(fraction, 0.0), 1.0), _DIGITS)


def zone_lines(given: str, name: str, zone: Section, picture: Picture, *, fps: float) -> Iterator[str]:
    """`[[camera.zone]]`, or comments where edged cannot have it.

    Args:
        given: its name in Frigate.
        name: in edged.
        zone: of Frigate.
        picture: that the camera is detected on.
        fps: frames a second in which `inertia` counts.
    """
    table: dict[str, object] = {"name": name}
    remarks = [f"zone {given!r} of Frigate: names are a-z 0-9 _ -"] if given != name else []
    remarks += zone_remarks(zone)
    off = "Frigate has it switched off" if zone.flag("enabled") is False else ""
    if (node := zone.node("coordinates")) is None:
        off = "it has no coordinates"
    else:
        try:
            table["points"] = points_of(node, picture)
        except LeftOut as exc:
            off = str(exc)
            remarks.append(_as_given(node))
    table |= _times(zone, fps)
    yield from _block("zone", table, remarks, off)


def _times(zone: Section, fps: float) -> dict[str, object]:
    inertia, loitering = zone.number("inertia", least=0, most=1e6), zone.number("loitering_time")
    found: dict[str, object] = {}
    if labels := zone.words("objects"):
        found["labels"] = labels
    if inertia is not None:
        found["enter_s"] = round(inertia / fps, 3)
    if loitering:
        found["loiter_s"] = loitering
    return found


def mask_lines(node: Node | None, picture: Picture, *, labels: tuple[str, ...] = ()) -> Iterator[str]:
    """`[[camera.mask]]` for each polygon, or comments where edged cannot have it.

    Args:
        node: coordinates, a list of such, or names and for each `coordinates` (since Frigate 0.18).
        picture: that the camera is detected on.
        labels: what does not count there; none: every label.
    """
    for name, polygon, off in _polygons(node):
        table: dict[str, object] = {}
        remarks = [f"object mask {name} of Frigate"] if name else []
        try:
            table["points"] = points_of(polygon, picture)
        except LeftOut as exc:
            off = str(exc)  # noqa: PLW2901 - the stronger reason
            remarks.append(_as_given(polygon))
        if labels:
            table["labels"] = labels
        yield from _block("mask", table, remarks, off)


def _polygons(node: Node | None) -> Iterator[tuple[str, Node, str]]:
    """Name, coordinates, and why it is off, of each mask."""
    if node is None or node.value in ("", ()):
        return
    if isinstance(node.value, dict):
        for name in (masks := Section(node)):
            mask = masks.section(name)
            if (polygon := mask.node("coordinates")) and polygon.value not in ("", ()):
                yield name, polygon, "Frigate has it switched off" if mask.flag("enabled") is False else ""
    elif isinstance(node.value, tuple) and not all(number_of(each) is not None for each in node.value):
        yield from (("", each, "") for each in node.value)
    else:
        yield "", node, ""


def _as_given(node: Node) -> str:
    parts = node.value if isinstance(node.value, tuple) else (node,)
    text = ",".join(part.text for part in parts)
    return f"its coordinates in Frigate: {text[:_MOST_SHOWN]}{'...' if len(text) > _MOST_SHOWN else ''}"


def _block(kind: str, table: dict[str, object], remarks: list[str], off: str) -> Iterator[str]:
    """An array's table below a camera; all of it comments, with the reason, where it is off or edged refuses it."""
    if not off:
        try:
            (Zone if kind == "zone" else Mask).model_validate(table)
        except ValidationError as exc:
            off = reason_of(exc)
    yield ""
    what = f"zone {table['name']}" if "name" in table else kind
    if off:
        yield remark(f"{what} is left out: {off}")
    yield from (remark(text) for text in remarks)
    lines = [f"[[camera.{kind}]]", *settings(table)]
    yield from switched_off(lines) if off else lines
