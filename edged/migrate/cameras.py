"""Reads Frigate's cameras, and writes them as `[[camera]]`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from edged.config.camera import MOST_TITLE, Camera
from edged.core.sources import scheme_of
from edged.migrate.addresses import Address, camera_address, is_over_udp, other_inputs
from edged.migrate.areas import Picture, mask_lines, zone_lines
from edged.migrate.names import edged_names
from edged.migrate.reasons import reason_of
from edged.migrate.remarks import camera_remarks
from edged.migrate.sections import LeftOut, Section
from edged.migrate.toml import remark, setting, settings, switched_off

_DEFAULT_FPS = 5.0  # Frigate's
_MOST_FPS = 1000.0  # edged's highest
_MOST_PIXELS = 65_535  # of a side
_DETECT_IS_OFF = (0, 16)  # since this release a camera without detect.enabled is not detected on


@dataclass(frozen=True, slots=True)
class FrigateCamera:
    """A camera as Frigate would run it.

    Attributes:
        given: its name in Frigate.
        name: in edged.
        own: its own keys.
        objects: its own, and those of the whole file that it does not have.
        address: where it is read.
        over_udp: RTSP's pictures come over UDP.
        picture: that it is detected on.
        fps: of detection.
        tracked: labels.
        left_out: why edged shall not watch it; empty where it shall.
    """

    given: str
    name: str
    own: Section
    objects: Section
    address: Address
    over_udp: bool
    picture: Picture
    fps: float
    tracked: tuple[str, ...]
    left_out: str

    def filter_of(self, label: str) -> Section:
        """Its limits for a label."""
        return self.objects.section("filters", label)


def read_cameras(root: Section) -> tuple[FrigateCamera, ...]:
    """All cameras of the file, those that are switched off included.

    Raises:
        DataError: a value of another type.
    """
    found = root.sections("cameras")
    names = edged_names(found, kind="camera")
    return tuple(_read(root, given, names[given], camera) for given, camera in found.items())


def _read(root: Section, given: str, name: str, camera: Section) -> FrigateCamera:
    detect = camera.section("detect").over(root.section("detect"))
    objects = camera.section("objects").over(root.section("objects"))
    tracked = objects.words("track")
    address, over_udp, left_out = Address(""), False, _switched_off(root, camera, detect)
    if tracked == ():
        left_out = left_out or "Frigate looks for nothing on it (objects.track is empty)"
    try:
        address = camera_address(camera, root.section("go2rtc"))
        _require_accepted(name, address)
        over_udp = scheme_of(address.source) == "rtsp" and is_over_udp(camera, root.section("ffmpeg"))
    except LeftOut as exc:
        left_out = left_out or str(exc)
    width, height = (detect.number(side, least=1, most=_MOST_PIXELS) or 0.0 for side in ("width", "height"))
    return FrigateCamera(
        given=given,
        name=name,
        own=camera,
        objects=objects,
        address=address,
        over_udp=over_udp,
        picture=Picture(width, height),
        fps=fps_of(detect),
        tracked=("person",) if tracked is None else tracked,
        left_out=left_out,
    )


def fps_of(detect: Section) -> float:
    """Frames a second that Frigate detects on."""
    return detect.number("fps", least=0.01, most=_MOST_FPS) or _DEFAULT_FPS


def _switched_off(root: Section, camera: Section, detect: Section) -> str:
    if camera.flag("enabled") is False:
        return "Frigate has it switched off (enabled: false)"
    if (on := detect.flag("enabled")) is False:
        return "Frigate does not detect on it (detect.enabled: false)"
    version = tuple(int(part) for part in re.findall(r"\d{1,6}", root.text("version"))[:2])
    if on is None and version >= _DETECT_IS_OFF:
        return "Frigate does not detect on it (detect.enabled is not set, which means off since 0.16)"
    return ""


def _require_accepted(name: str, address: Address) -> None:
    try:
        Camera.model_validate({"name": name, "source": address.source, "username": address.username})
    except ValidationError as exc:
        raise LeftOut(reason_of(exc)) from exc


def camera_lines(camera: FrigateCamera) -> Iterator[str]:
    """`[[camera]]` with its zones and masks; all of it comments where edged shall not watch it."""
    yield ""
    if not camera.left_out:
        yield from _lines(camera)
        return
    yield remark(f"camera {camera.name} is left out: {camera.left_out}")
    yield from switched_off(_lines(camera))


def _lines(camera: FrigateCamera) -> Iterator[str]:
    yield "[[camera]]"
    if camera.given != camera.name:
        yield remark(f"camera {camera.given!r} of Frigate: names are a-z 0-9 _ -")
    yield setting("name", camera.name)
    if title := camera.own.text("friendly_name").strip():
        yield setting("title", title[:MOST_TITLE])
    if camera.address.source:
        yield from _source_lines(camera.name, camera.address)
    else:
        yield remark('source = "..."')
    if camera.over_udp:
        yield setting("transport", "udp")
    if others := other_inputs(camera.own):
        yield remark(f"ffmpeg.inputs: edged reads the stream for detect alone, {others} more in Frigate")
    yield setting("fps", camera.fps)
    yield from (remark(text) for text in camera_remarks(camera.own, fps=camera.fps))
    zones = camera.own.sections("zones")
    names = edged_names(zones, kind="zone")
    for given, zone in zones.items():
        yield from zone_lines(given, names[given], zone, camera.picture, fps=camera.fps)
    yield from mask_lines(camera.objects.node("mask"), camera.picture)
    for label in camera.objects.section("filters"):
        if label in camera.tracked:
            yield from mask_lines(camera.filter_of(label).node("mask"), camera.picture, labels=(label,))


def _source_lines(name: str, address: Address) -> Iterator[str]:
    variable = f"EDGED_CAMERA__{name.upper().replace('-', '_')}__"
    yield from (remark(text) for text in address.remarks)
    for unknown in address.variables:
        yield remark(f"edged puts no variables into text: write the value of {unknown} here, or set {variable}SOURCE")
    yield setting("source", address.source)
    if address.user_variable:
        yield remark(f"username: Frigate has it in {address.user_variable}; write it here, or set {variable}USERNAME")
    elif address.username and not address.placed:
        yield setting("username", address.username)
    elif address.has_password and not address.placed:
        yield remark("username: there is none in Frigate's address, and edged wants one with a password")
    if not address.has_password:
        return
    where = f"Frigate has it in {address.password_variable}" if address.password_variable else "it is not copied"
    yield remark(
        f"password: {where}; give it as the systemd credential camera-{name}-password, as {variable}PASSWORD, or by:"
    )
    yield remark(setting("password_file", f"/etc/edged/{name}-password"))
    if address.placed:
        yield remark("It stands inside the address. With the password given, have this in place of the source above:")
        lines = {"source": address.placed} | ({"username": address.username} if address.username else {})
        yield from (remark(line) for line in settings(lines))
