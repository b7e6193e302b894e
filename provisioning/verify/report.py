"""Reports a verification: `report.json` for programs, `report.md` with pictures for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from edged.core.errors import DataError, EdgedError
from edged.core.manifest import FileRecord, Manifest
from edged.core.types import Detections, Pixels
from edged.cpu.processors import processor_name
from provisioning.frames.frameset import FrameSet
from provisioning.verify.compare import Comparison
from provisioning.verify.gate import Verdict

REPORT = "report.json"
PICTURES = 4
_PICTURE_WIDTH = 640
_GREEN, _ORANGE = (80, 200, 80), (30, 140, 255)  # BGR: float32, candidate


@dataclass(frozen=True, slots=True)
class Subject:
    """What was verified.

    Attributes:
        manifest: of the bundle.
        files: of the bundle, with their sizes.
        candidate: what was compared with float32, for people, e.g. `model.int8.cpu.onnx on ONNX Runtime`.
        file: the graph that ONNX Runtime ran; empty for an engine.
        one_core_ms: milliseconds of one inference on one core, of float32 and of `file`; empty for an engine.
    """

    manifest: Manifest
    files: Mapping[str, FileRecord]
    candidate: str
    file: str
    one_core_ms: tuple[float, ...] = ()


def report_files(subject: Subject, comparison: Comparison, frames: FrameSet) -> dict[str, bytes]:
    """The report as files by name: `report.json`, `report.md` and up to PICTURES pictures."""
    chosen = _most_telling(comparison)
    pictures: dict[str, bytes] = {}
    for place, pixels in enumerate(frames.pictures("verification")):
        if place in chosen:
            found = (comparison.reference.detections[place], comparison.candidate.detections[place])
            pictures[f"report-{chosen.index(place) + 1}.jpg"] = _drawn(pixels, *found)
    facts = report_facts(subject, comparison)
    text = _markdown(subject, comparison, facts, sorted(pictures))
    return {REPORT: (json.dumps(facts, indent=2) + "\n").encode(), "report.md": text.encode(), **pictures}


def report_facts(subject: Subject, comparison: Comparison) -> dict[str, Any]:
    """The figures as JSON values; times in milliseconds, memory and sizes in bytes."""
    facts: dict[str, Any] = {
        "candidate": subject.candidate,
        "file": subject.file,
        "processor": processor_name(),
        "precision": subject.manifest.precision,
        "calibration": dict(subject.manifest.calibration),
        "verdict": asdict(comparison.verdict),
        "agreement": {**_rounded(asdict(comparison.agreement)), "f1": round(comparison.agreement.f1, 4)},
        "median_ms": {
            "float32": dict(comparison.reference.timings_ms),
            "candidate": dict(comparison.candidate.timings_ms),
        },
        "one_core_ms": dict(zip(("float32", "candidate"), subject.one_core_ms, strict=False)),
        "resident_bytes": {
            "float32": comparison.reference.memory_bytes,
            "candidate": comparison.candidate.memory_bytes,
        },
        "file_bytes": {name: record.bytes for name, record in sorted(subject.files.items())},
    }
    if comparison.precisions:
        reference, candidate = comparison.precisions
        facts["labelled"] = {
            "pictures": reference.pictures,
            "float32": _rounded({"map50": reference.map50, "map50_95": reference.map50_95}),
            "candidate": _rounded({"map50": candidate.map50, "map50_95": candidate.map50_95}),
        }
    return facts


@dataclass(frozen=True, slots=True)
class Report:
    """What programs take from `report.json`.

    Attributes:
        verdict: whether the model passed, and why.
        summary: the part that goes into the manifest.
    """

    verdict: Verdict
    summary: dict[str, Any]


def read_report(content: str | bytes) -> Report:
    """Read the content of `report.json`.

    Raises:
        DataError: it is not what `report_files` writes.
    """
    try:
        facts = json.loads(content)
        verdict = Verdict(bool(facts["verdict"]["passed"]), str(facts["verdict"]["reason"]))
        return Report(verdict, _summary(facts, verdict))
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise DataError(f"not the report of a verification: {exc!r}") from exc


def _summary(facts: Mapping[str, Any], verdict: Verdict) -> dict[str, Any]:
    return {
        "candidate": facts["candidate"],
        "passed": verdict.passed,
        "verdict": verdict.reason,
        "file": facts["file"],
        "processor": facts["processor"],
        "f1": facts["agreement"]["f1"],
        "median_ms": facts["median_ms"]["candidate"].get("detect"),
        "one_core_ms": dict(facts["one_core_ms"]),
    }


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in values.items()}


def _markdown(subject: Subject, comparison: Comparison, facts: Mapping[str, Any], pictures: list[str]) -> str:
    manifest, found = subject.manifest, comparison.agreement
    lines = [
        f"# {manifest.name}: {subject.candidate}",
        "",
        f"**{'Passed' if comparison.verdict.passed else 'Not passed'}**: {comparison.verdict.reason}.",
        "",
        _description(manifest),
        "",
        "## Accuracy",
        "",
        *_table(("", "float32", "candidate"), _accuracy_rows(comparison)),
        "",
        f"{found.matched} boxes of both match (mean IoU {found.mean_iou:.3f}).",
        f"Scores differ by {found.mean_score_difference:.3f} on average, by {found.max_score_difference:.3f} at most.",
        "",
        "## Speed and memory",
        "",
        *_table(("median ms a frame", "float32", "candidate"), _speed_rows(facts)),
        "",
        "Resident memory is the whole process's, with both models loaded one after the other: an upper bound.",
        "",
        *_table(("file", "bytes"), [(name, f"{size:,}") for name, size in facts["file_bytes"].items()]),
    ]
    if pictures:
        lines += ["", "## Pictures", "", "Green is float32, orange the candidate; those that differ most come first."]
    for name in pictures:
        lines += ["", f"![{name}]({name})"]
    return "\n".join(lines) + "\n"


def _description(manifest: Manifest) -> str:
    width, height = manifest.input_wh
    network = f"{manifest.architecture}, {len(manifest.classes)} classes, input {width}x{height}"
    return f"{network}, precision {manifest.precision}, licence {manifest.licence}."


def _accuracy_rows(comparison: Comparison) -> list[tuple[str, str, str]]:
    found = comparison.agreement
    rows = [
        (f"boxes in {found.frames} frames", str(found.reference_boxes), str(found.candidate_boxes)),
        ("F1 against float32", "1", f"{found.f1:.4f}"),
    ]
    if comparison.precisions:
        reference, candidate = comparison.precisions
        rows.append((f"mAP50, {reference.pictures} pictures", f"{reference.map50:.4f}", f"{candidate.map50:.4f}"))
        rows.append(("mAP50-95", f"{reference.map50_95:.4f}", f"{candidate.map50_95:.4f}"))
    return rows


def _speed_rows(facts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    times = facts["median_ms"]
    stages = dict.fromkeys([*times["float32"], *times["candidate"]])
    rows = [(stage, *(f"{times[side].get(stage, 0):.2f}" for side in ("float32", "candidate"))) for stage in stages]
    if alone := facts["one_core_ms"]:
        rows.append(("inference on one core", *(f"{alone[side]:.2f}" for side in ("float32", "candidate"))))
    memory = facts["resident_bytes"]
    rows.append(("resident MB", f"{memory['float32'] / 1e6:.0f}", f"{memory['candidate'] / 1e6:.0f}"))
    return [(row[0], row[1], row[2]) for row in rows]


def _table(head: tuple[str, ...], rows: list[tuple[str, str, str]] | list[tuple[str, str]]) -> list[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _most_telling(comparison: Comparison) -> list[int]:
    """Indices of the frames to show: first those that differ most in number of boxes, then those with most boxes."""
    pairs = list(zip(comparison.reference.detections, comparison.candidate.detections, strict=True))
    order = sorted(range(len(pairs)), key=lambda place: (-abs(len(pairs[place][0]) - len(pairs[place][1])), place))
    differing = [place for place in order if len(pairs[place][0]) != len(pairs[place][1])]
    busiest = sorted(range(len(pairs)), key=lambda place: (-len(pairs[place][0]), place))
    return list(dict.fromkeys([*differing, *busiest]))[:PICTURES]


def _drawn(pixels: Pixels, reference: Detections, candidate: Detections) -> bytes:
    scale = min(1.0, _PICTURE_WIDTH / pixels.shape[1])
    canvas = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    for found, colour, width in ((reference, _GREEN, 3), (candidate, _ORANGE, 1)):
        for x1, y1, x2, y2 in np.rint(found.xyxy * scale).astype(int).tolist():
            cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, width)
    ok, encoded = cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, 85])
    if not ok:
        raise EdgedError("a picture of the report cannot be encoded as JPEG")
    return encoded.tobytes()
