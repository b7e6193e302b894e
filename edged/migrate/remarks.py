"""What edged has no counterpart for, and what to do instead: one sentence for each key of Frigate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edged.migrate.sections import Section
from edged.migrate.track import track_seconds

_PAGE = "edged's page is `edged view`, a program of its own"
_ENTRY = f"{_PAGE}; [listen] in view.toml says who may look"
_NAMES = "edged tells classes apart and recognises nobody; a subscriber of its events may"
_NO_RECORDING = "edged does not record; keep an NVR beside it"
_NO_SOUND = "edged hears nothing"
_REVIEW = "edged has no reviews; its events say what came, which zones it was in, and when it left"
_NOTIFY = "edged sends events over MQTT; let Home Assistant or another subscriber notify"
_LIVE = "`edged view` shows pictures with their boxes, not video; watch the camera itself, or keep go2rtc"
_DRAWS_NOTHING = "edged draws no time into pictures; the event says it"
_RESTREAM = "edged passes no video on; keep go2rtc for that"
_SPEED = "edged measures no speed"
_NO_NAME = "edged has the name alone"
_FFMPEG = "edged has no options of FFmpeg; it finds transport and format itself"
_UNKNOWN = "edged has nothing like it"

_GENERAL = {
    **dict.fromkeys(("auth", "proxy", "tls", "networking"), _ENTRY),
    **dict.fromkeys(("ui", "camera_groups", "birdseye"), _PAGE),
    **dict.fromkeys(("face_recognition", "lpr", "semantic_search", "classification", "genai"), _NAMES),
    **dict.fromkeys(("audio", "audio_transcription"), _NO_SOUND),
    **dict.fromkeys(("rtmp", "restream"), _RESTREAM),
    "database": "edged keeps no database; what waits for the broker is on disk, see outbox in [publish]",
    "environment_vars": "edged reads its own environment, as EDGED_MQTT__PASSWORD",
    "go2rtc": "edged reads each camera itself; keep go2rtc for others who watch",
    "live": _LIVE,
    "motion": "edged looks at every frame, with motion or without",
    "notifications": _NOTIFY,
    "profiles": "edged has one configuration; `systemctl reload edged` applies another",
    "record": _NO_RECORDING,
    "review": _REVIEW,
    "telemetry": "edged sends figures of itself over MQTT, on the topic stats",
    "timestamp_style": _DRAWS_NOTHING,
}
_CAMERA = {
    **_GENERAL,
    "best_image_timeout": "edged keeps the best picture of each object, however old",
    "mqtt": "the pictures that edged sends over MQTT are those of [snapshots]",
    "snapshots": "[snapshots] holds for all cameras",
    "onvif": "edged moves no cameras",
    "type": "all cameras of edged are alike",
    "webui_url": "edged's page has no links to cameras",
}
_DETECT = {"annotation_offset": "it is for recordings"}
_ZONE = {
    "distances": _SPEED,
    "filters": "edged's filters, [filter.CLASS], hold in all zones",
    "friendly_name": _NO_NAME,
    "speed_threshold": _SPEED,
}
_HARDWARE = 'edged decodes without hardware; acceleration = "any" in [[camera]] lets FFmpeg use it'
_MASK = (
    "edged looks at the whole picture, with motion or without; a [[camera.mask]] is for objects that shall not count"
)
# What other modules read.
_READ = {"version", "cameras", "objects", "detect", "mqtt", "logger", "snapshots", "ffmpeg", "model", "detectors"}
_READ_OF_CAMERA = {"enabled", "name", "friendly_name", "ffmpeg", "detect", "objects", "zones", "motion"}


def general_remarks(root: Section) -> list[str]:
    """What of the whole file edged does not have."""
    return each_remark(root, _GENERAL, known=_READ) + _shared(root)


def camera_remarks(camera: Section, *, fps: float) -> list[str]:
    """What of one camera edged does not have; `fps` is its rate of detection."""
    found = each_remark(camera, _CAMERA, known=_READ_OF_CAMERA)
    motion = [key for key in camera.section("motion") if key != "mask"]
    found += [f"motion.mask: {_MASK}"] if camera.section("motion").node("mask") else []
    found += [f"motion: {_GENERAL['motion']}"] if motion else []
    for key, (name, seconds) in track_seconds(camera.section("detect"), fps=fps).items():
        found.append(f"detect.{key}: {name} in [track] holds for all cameras; of this one it was {seconds:g} s")
    return found + _shared(camera)


def zone_remarks(zone: Section) -> list[str]:
    """What of one zone edged does not have."""
    return each_remark(zone, _ZONE, known={"coordinates", "objects", "inertia", "loitering_time", "enabled", "color"})


def each_remark(
    keys: Iterable[str], sentences: Mapping[str, str], *, known: Iterable[str], prefix: str = ""
) -> list[str]:
    """A sentence for each key that is not in `known`; for one that has none, that edged has nothing like it."""
    return [f"{prefix}{key}: {sentences.get(key, _UNKNOWN)}" for key in keys if key not in known]


def _shared(section: Section) -> list[str]:
    """Remarks on what may stand at a camera and in the whole file."""
    return [
        *_of_ffmpeg(section.section("ffmpeg")),
        *_of_detect(section.section("detect")),
        *each_remark(
            section.section("objects"), {"genai": _NAMES}, known={"track", "filters", "mask"}, prefix="objects."
        ),
    ]


def _of_ffmpeg(ffmpeg: Section) -> list[str]:
    inputs = ffmpeg.listed("inputs")
    keys = [key for one in (ffmpeg, *inputs) for key in one if key not in {"inputs", "path", "roles"}]
    keys += ["path"] if ffmpeg.node("path") else []
    found = ["ffmpeg.hwaccel_args: " + _HARDWARE] if "hwaccel_args" in keys else []
    others = ", ".join(dict.fromkeys(f"ffmpeg.{key}" for key in keys if key != "hwaccel_args"))
    return [*found, *([f"{others}: {_FFMPEG}"] if others else [])]


def _of_detect(detect: Section) -> list[str]:
    read = {"enabled", "width", "height", "fps", "stationary", "min_initialized", "max_disappeared"}
    found = each_remark(detect.section("stationary"), {}, known={"threshold"}, prefix="detect.stationary.")
    return found + each_remark(detect, _DETECT, known=read, prefix="detect.")
