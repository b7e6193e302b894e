"""Opens all cameras at once, as the daemon does, and says what each of them gives."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from edged.capture.cameras import Cameras
from edged.capture.sources.kinds import Kind, kind_of
from edged.capture.sources.reader import LOST_AFTER_S
from edged.capture.sources.v4l2.asking import offers_of
from edged.capture.sources.v4l2.offers import Offer, facts, lines
from edged.capture.spec import CameraSpec
from edged.check.findings import Finding, failure
from edged.core.errors import CameraError, OutputError
from edged.core.states import CameraState
from edged.core.types import Frame
from edged.jpeg import jpeg

SLACK_S = 2.0  # for starting a camera's process, on top of its own deadlines
KEY_FRAMES_S = 10.0  # how long the second key frame of a stream is waited for
MOST_BYTES = 8 << 20  # of a still picture
_LOOK_S = 0.1


def check_cameras(specs: Sequence[CameraSpec], *, pictures: Path | None) -> Iterable[Finding]:
    """Report each camera by its first frame or failure.

    Args:
        specs: all cameras.
        pictures: a folder for a JPEG of each camera; None: no pictures.

    Raises:
        OutputError: a picture cannot be written.
    """
    watch = _Watch(specs, keeps_frames=pictures is not None)
    with closing(watch):
        watch.first_frames()
        watch.key_frames()
        if pictures is not None:
            watch.still_pictures()
    for spec in specs:
        finding = _finding(spec, watch.verdict(spec.name), _written(pictures, spec.name, watch.frames.get(spec.name)))
        yield _with_offers(finding, spec)


class _Watch:
    """The cameras for as long as they are looked at.

    Attributes:
        frames: where they are kept, the latest of each camera, copied.
    """

    def __init__(self, specs: Sequence[CameraSpec], *, keeps_frames: bool) -> None:
        self._keeps_frames = keeps_frames
        self._patience_s = max(spec.open_timeout_s + spec.read_timeout_s for spec in specs) + SLACK_S
        self._names = [spec.name for spec in specs]
        self._settled: dict[str, CameraState] = {}
        self.frames: dict[str, Frame] = {}
        self._cameras = Cameras(specs, on_state=self._settle)
        self._cameras.start()

    def _settle(self, state: CameraState) -> None:
        if state.state != "opening":
            self._settled.setdefault(state.camera, state)

    def first_frames(self) -> None:
        """Wait until each camera gave a frame or failed."""
        began_s = time.monotonic()
        while len(self._settled) < len(self._names):
            waiting = [state for name, state in self._cameras.states().items() if name not in self._settled]
            # A camera with a reason is connected: bytes arrive, and a picture will follow.
            if time.monotonic() - began_s >= self._patience_s + LOST_AFTER_S * any(state.reason for state in waiting):
                return
            self._look()

    def key_frames(self) -> None:
        """Wait until the distance of the key frames of each RTSP camera is known, or for `KEY_FRAMES_S`."""
        until_s = time.monotonic() + KEY_FRAMES_S
        while time.monotonic() < until_s and any(
            state.alive and state.transport and not state.key_interval_s for state in self._cameras.states().values()
        ):
            self._look()

    def still_pictures(self) -> None:
        """Wait until there is a picture of each camera that is alive."""
        until_s = time.monotonic() + self._patience_s
        while time.monotonic() < until_s and any(
            state.alive and name not in self.frames for name, state in self._cameras.states().items()
        ):
            self._look()

    def _look(self) -> None:
        """Take what comes; the first picture of a stream may be grey, a later one is as good as any."""
        frames = self._cameras.take(len(self._names), timeout_s=_LOOK_S)
        for frame in frames if self._keeps_frames else ():
            self.frames[frame.meta.camera] = Frame(frame.meta, frame.pixels.copy())
        self._cameras.release(frames)

    def verdict(self, name: str) -> CameraState:
        """The state that counts: a failure, else the latest."""
        first = self._settled.get(name)
        return first if first and not first.alive else self._cameras.states()[name]

    def close(self) -> None:
        """End the cameras."""
        self._cameras.close()


def _finding(spec: CameraSpec, state: CameraState, picture: Path | None) -> Finding:
    part = f"camera {spec.name}"
    if not (state.alive or state.state == "ended"):
        reason = state.reason or "gave neither a frame nor an error in time"
        where = "" if spec.shown_source in reason else f"{spec.shown_source}: "
        return failure(part, CameraError(where + reason))
    width, height = state.size_wh
    said = [spec.shown_source, f"{width}x{height}"]
    said += [f"{state.fps:g} frames/s"] * bool(state.fps) + [state.decoder]
    said += [f"over {state.transport}"] * bool(state.transport)
    said += [f"a key frame every {state.key_interval_s:.3g} s"] * bool(state.key_interval_s)
    said += [f"picture in {picture}"] * bool(picture)
    facts = {
        "size": [width, height],
        "fps": state.fps,
        "decoder": state.decoder,
        "transport": state.transport or None,
        "key_interval_s": round(state.key_interval_s, 3) or None,
        "picture": str(picture) if picture else None,
    }
    return Finding(part, ok=True, detail=", ".join(said), facts=facts)


def _with_offers(finding: Finding, spec: CameraSpec) -> Finding:
    """The finding with what a video device offers, whether or not it gives pictures just now."""
    try:
        offers: tuple[Offer, ...] = offers_of(spec.source) if kind_of(spec.source) is Kind.DEVICE else ()
    except CameraError as exc:
        if not finding.ok:
            return finding  # for the same reason
        return failure(finding.part, exc)  # it gave a picture a moment ago
    if not offers:
        return finding
    notes = tuple(f"offers {line}" for line in lines(offers))
    return replace(finding, notes=notes, facts={**finding.facts, "offers": facts(offers)})


def _written(folder: Path | None, camera: str, frame: Frame | None) -> Path | None:
    """Write a camera's picture; None where there is none."""
    if folder is None or frame is None:
        return None
    path = folder / f"{camera}.jpg"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(frame.pixels, most_bytes=MOST_BYTES))
    except OSError as exc:
        raise OutputError(f"{path} cannot be written: {exc.strerror}") from exc
    return path
