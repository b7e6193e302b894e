"""`edged check`: tries each part for real and prints one line for each."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edged.assembly.model import load_model
from edged.assembly.options import camera_specs, mqtt_options
from edged.assembly.scenes import scene_options
from edged.capture.cameras import Cameras
from edged.capture.sources.reader import LOST_AFTER_S
from edged.capture.spec import CameraSpec
from edged.config import Settings, load_settings
from edged.core.errors import CameraError, EdgedError
from edged.core.redact import redact
from edged.core.states import CameraState
from edged.publish.check import check_broker

SLACK_S = 2.0  # for starting a camera's process, on top of its own deadlines


@dataclass(frozen=True, slots=True)
class Finding:
    """One part's result.

    Attributes:
        part: `configuration`, `model`, `camera NAME` or `broker`.
        ok: whether it is usable.
        detail: what it is, or what is wrong and how to mend it.
        exit_code: 0, or the code of the failure.
    """

    part: str
    ok: bool
    detail: str
    exit_code: int = 0


def check_all(config: Path, *, as_json: bool) -> int:
    """Try every part, print what was found; returns 0 or the first failure's exit code."""
    findings: list[Finding] = []
    for finding in _findings(config):
        findings.append(finding)
        if not as_json:
            print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.part}: {finding.detail}", flush=True)  # noqa: T201
    code = next((finding.exit_code for finding in findings if not finding.ok), 0)
    if as_json:
        parts = [asdict(finding) for finding in findings]
        print(json.dumps({"ok": code == 0, "exit_code": code, "parts": parts}, indent=2))  # noqa: T201
    return code


def _findings(config: Path) -> Iterable[Finding]:
    try:
        settings = load_settings(config)
        specs = camera_specs(settings.camera)
    except EdgedError as exc:
        yield _failure("configuration", exc)
        return
    yield Finding("configuration", ok=True, detail=str(config))
    yield _try("model", lambda: _model(settings))
    yield from _cameras(specs)
    yield _try("broker", lambda: _broker(settings))


def _try(part: str, probe: Callable[[], str]) -> Finding:
    try:
        return Finding(part, ok=True, detail=probe())
    except EdgedError as exc:
        return _failure(part, exc)


def _failure(part: str, error: EdgedError) -> Finding:
    return Finding(part, ok=False, detail=redact(str(error)), exit_code=error.exit_code)


def _model(settings: Settings) -> str:
    loaded = load_model(settings.model, settings.engine)
    loaded.detector.close()
    manifest = loaded.bundle.manifest
    scene_options(settings, classes=manifest.classes, model=manifest.name)
    width, height = manifest.input_wh
    facts = "".join(f"; {name} {value}" for name, value in loaded.facts.items())
    model = f"{manifest.name} ({manifest.licence}), {len(manifest.classes)} classes, {width}x{height}"
    return f"{model}, {loaded.backend}{facts}"


def _broker(settings: Settings) -> str:
    options = mqtt_options(settings.mqtt)
    check_broker(options)
    secured = "TLS" if options.tls else "not encrypted"
    return f"{options.address}, MQTT {options.protocol}, {secured}" + (
        f", user {options.username}" * bool(options.username)
    )


def _cameras(specs: Sequence[CameraSpec]) -> Iterable[Finding]:
    """Open all cameras at once, as the daemon does, and report each by its first frame or failure."""
    settled: dict[str, CameraState] = {}
    changed = threading.Condition()

    def on_state(state: CameraState) -> None:
        if state.state != "opening":
            with changed:
                settled.setdefault(state.camera, state)
                changed.notify()

    patience_s = max(spec.open_timeout_s + spec.read_timeout_s for spec in specs) + SLACK_S
    began = time.monotonic()
    with Cameras(specs, on_state=on_state) as cameras, changed:
        while len(settled) < len(specs):
            waited_s = time.monotonic() - began
            waiting = [state for name, state in cameras.states().items() if name not in settled]
            # A camera with a reason is connected: bytes arrive, and a picture will follow.
            if waited_s >= patience_s + LOST_AFTER_S * any(state.reason for state in waiting):
                break
            changed.wait(1.0)
        states = cameras.states()
    for spec in specs:
        first = settled.get(spec.name)
        yield _camera(spec, first if first and not first.alive else states[spec.name])


def _camera(spec: CameraSpec, state: CameraState) -> Finding:
    part = f"camera {spec.name}"
    if state.alive or state.state == "ended":
        width, height = state.size_wh
        rate = f", {state.fps:g} frames/s" if state.fps else ""
        return Finding(part, ok=True, detail=f"{spec.shown_source}, {width}x{height}{rate}, {state.decoder}")
    reason = state.reason or "gave neither a frame nor an error in time"
    return _failure(part, CameraError(f"{spec.shown_source}: {reason}"))
