"""`edged check`: tries each part for real and prints one line for each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from edged.assembly.model import load_model
from edged.assembly.options import camera_specs, mqtt_options
from edged.assembly.scenes import scene_options
from edged.check.cameras import check_cameras
from edged.check.findings import Finding, failure
from edged.config import Settings, load_settings
from edged.core.errors import EdgedError
from edged.publish.check import check_broker


def check_all(config: Path, *, as_json: bool, pictures: Path | None = None) -> int:
    """Try every part, print what was found; returns 0 or the first failure's exit code.

    Args:
        config: edged.toml.
        as_json: one object instead of a line for each part.
        pictures: a folder for a JPEG of each camera; None: no pictures.

    Raises:
        OutputError: a picture cannot be written.
    """
    findings: list[Finding] = []
    for finding in _findings(config, pictures):
        findings.append(finding)
        if not as_json:
            print(finding, flush=True)  # noqa: T201
    code = next((finding.exit_code for finding in findings if not finding.ok), 0)
    if as_json:
        parts = [finding.as_json() for finding in findings]
        print(json.dumps({"ok": code == 0, "exit_code": code, "parts": parts}, indent=2))  # noqa: T201
    return code


def _findings(config: Path, pictures: Path | None) -> Iterable[Finding]:
    try:
        settings = load_settings(config)
        specs = camera_specs(settings.camera)
    except EdgedError as exc:
        yield failure("configuration", exc)
        return
    yield Finding("configuration", ok=True, detail=str(config))
    yield _try("model", lambda: _model(settings))
    yield from check_cameras(specs, pictures=pictures)
    yield _try("broker", lambda: _broker(settings))


def _try(part: str, probe: Callable[[], str]) -> Finding:
    try:
        return Finding(part, ok=True, detail=probe())
    except EdgedError as exc:
        return failure(part, exc)


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
