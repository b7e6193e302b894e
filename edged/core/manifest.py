"""Reads `manifest.json` of a model bundle strictly: the contract between provisioning and the daemon."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from edged.core.decode import Decode, decode_from_json
from edged.core.errors import BundleMismatch, DataError

SCHEMA = 2
OLDEST_SCHEMA = 1  # had anchors and strides at the top level; its only decode was `grid`
MAX_MANIFEST_BYTES = 1 << 20
PRECISIONS = ("fp32", "fp16", "int8")
MAX_SIDE = 8192  # network input, pixels; also bounds the memory that a manifest can ask for


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file of the bundle: its SHA-256 (lower-case hex) and size in bytes."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """One TensorRT engine and the machine it was built for.

    Attributes:
        file: name inside the bundle.
        tensorrt: version that built it, e.g. `10.3.0`.
        gpu: device name as NVML gives it; empty where kind is `rtx`: any device of its capabilities runs it.
        compute_capability: of that device, e.g. `8.7`; also empty where kind is `rtx`.
        precision: `fp32`, `fp16` or `int8`.
        decode: `plugin` (YoloLayer_TRT inside) or `kernel` (raw heads, decode behind the engine).
        plugin_version: of YoloLayer_TRT; empty where decode is `kernel`.
        batch: smallest, optimal and largest batch of its optimisation profiles.
        kind: of the TensorRT that built it, `tensorrt` or `rtx`.
        capabilities: what an engine of kind `rtx` was built for, e.g. (`8.6`, `8.9`); else empty.
    """

    file: str
    tensorrt: str
    gpu: str
    compute_capability: str
    precision: str
    decode: str
    plugin_version: str
    batch: tuple[int, int, int]
    kind: str = "tensorrt"
    capabilities: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> EngineRecord:
        """Build from the JSON object that `dataclasses.asdict` gives.

        Raises:
            TypeError, ValueError, KeyError: a field is missing, unknown or malformed.
        """
        capabilities = raw.get("capabilities", [])
        record = cls(**{**raw, "batch": tuple(raw["batch"]), "capabilities": tuple(capabilities)})
        texts = [getattr(record, field.name) for field in fields(cls) if field.name not in {"batch", "capabilities"}]
        if not all(isinstance(text, str) for text in (*texts, *record.capabilities)) or isinstance(capabilities, str):
            raise TypeError(f"an engine's names must be texts, got {dict(raw)}")
        if record.precision not in PRECISIONS or record.decode not in {"plugin", "kernel"}:
            raise ValueError(f"engine {record.file}: precision {record.precision!r}, decode {record.decode!r}")
        if len(record.batch) != 3 or sorted(record.batch) != list(record.batch) or record.batch[0] < 1:  # noqa: PLR2004
            raise ValueError(f"engine {record.file}: batch must be three ascending numbers, got {raw['batch']}")
        return record


@dataclass(frozen=True, slots=True)
class Manifest:
    """A provisioned model: the content of `manifest.json`.

    Attributes:
        name: what people call it; topics and messages carry it.
        architecture: e.g. `yolov5n`.
        classes: names by class id.
        decode: how its outputs are decoded.
        input_wh: network input (width, height), pixels, multiples of what the decode needs.
        licence: of the weights, SPDX identifier or text.
        precision: what its engine was made for, `fp32`, `fp16` or `int8`: `precision = "auto"` takes it on a GPU.
        min_confidence: lowest score that the bundle can report (an engine's baked-in pre-NMS threshold).
        files: every file but the manifest.
        engines: TensorRT engines, if any.
        provenance: where the weights came from, free form, strings only.
        calibration: method, source and frame count of INT8, or empty.
        report: accuracy and speed as verified, or empty.

    Raises:
        DataError: a value is empty, of another type or out of range.
    """

    name: str
    architecture: str
    classes: tuple[str, ...]
    decode: Decode
    input_wh: tuple[int, int]
    licence: str
    files: Mapping[str, FileRecord]
    precision: str = "fp32"
    min_confidence: float = 0.001
    engines: tuple[EngineRecord, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problem = _first_problem(self)
        if problem:
            raise DataError(f"manifest: {problem}")

    def to_json(self) -> str:
        """Canonical JSON: the same manifest always gives the same bytes, so its hash can name the bundle."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, *, where: str) -> Manifest:
        """Parse and check.

        Args:
            text: the file's content.
            where: its path, for messages.

        Raises:
            DataError: not JSON, a missing, unknown or malformed field.
            BundleMismatch: a schema version or kind of decode that this release does not know.
        """
        try:
            raw = json.loads(text)
        except ValueError as exc:
            raise DataError(f"{where}: not valid JSON ({exc})", remedy="provision the model again") from exc
        if not isinstance(raw, dict):
            raise DataError(f"{where}: expected a JSON object, got {type(raw).__name__}")
        schema = raw.pop("schema", None)
        if schema not in range(OLDEST_SCHEMA, SCHEMA + 1) or isinstance(schema, bool):
            raise BundleMismatch(
                f"{where}: schema {schema!r}, this edged reads schema {OLDEST_SCHEMA} to {SCHEMA}",
                remedy="provision the model again with this version: edged-provision",
            )
        try:
            return cls(**_converted(_raised(raw) if schema == OLDEST_SCHEMA else raw))
        except (DataError, BundleMismatch) as exc:
            raise type(exc)(f"{where}: {exc}") from exc
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise DataError(f"{where}: misshapen manifest ({exc})", remedy="provision the model again") from exc


def _raised(raw: dict[str, Any]) -> dict[str, Any]:
    """Convert the fields of schema 1 to those of schema 2."""
    decode = {"kind": "grid", "anchors": raw.pop("anchors"), "strides": raw.pop("strides"), "family": "yolov5"}
    return {**raw, "decode": decode}


def _converted(raw: dict[str, Any]) -> dict[str, Any]:
    """Convert JSON lists and objects to the tuples and records of `Manifest`; raises where one is malformed."""
    raw["classes"] = tuple(raw["classes"])
    raw["decode"] = decode_from_json(raw["decode"])
    raw["input_wh"] = _pair(raw["input_wh"])
    raw["files"] = {str(name): FileRecord(**record) for name, record in raw["files"].items()}
    raw["engines"] = tuple(EngineRecord.from_json(engine) for engine in raw.get("engines", ()))
    return raw


def _pair(value: Sequence[Any]) -> tuple[int, int]:
    width, height = value
    return int(width), int(height)


def _first_problem(manifest: Manifest) -> str:
    """What is wrong with the values, or an empty string."""
    classes, multiple = manifest.classes, manifest.decode.multiple
    if not manifest.name or not isinstance(manifest.name, str):
        return f"name must be text, got {manifest.name!r}"
    if not classes or not all(isinstance(name, str) and name for name in classes):
        return "classes must be a non-empty list of names"
    if any(side < 1 or side > MAX_SIDE or side % multiple for side in manifest.input_wh):
        return f"input_wh must be multiples of {multiple} up to {MAX_SIDE}, got {list(manifest.input_wh)}"
    if manifest.precision not in PRECISIONS:
        return f"precision must be one of {', '.join(PRECISIONS)}, got {manifest.precision!r}"
    if not 0 <= manifest.min_confidence < 1:
        return f"min_confidence must be in 0..1, got {manifest.min_confidence}"
    for name in (*manifest.files, *(engine.file for engine in manifest.engines)):
        if not name or name in {".", ".."} or "/" in name or "\0" in name:
            return f"file name {name!r} leaves the bundle directory"
    return ""
