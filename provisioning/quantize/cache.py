"""The calibration cache: thresholds per tensor, valid for one model, one list of frames and one preprocessing only."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import onnx

from edged.store.files import atomic_writer
from provisioning.quantize.placement import activations

logger = logging.getLogger(__name__)

SCHEMA = "edged.calibration/2"
# Change this text whenever the computation from pixels to ranges changes: older caches then no longer match.
PREPROCESSING = "letterbox 114, bilinear, RGB, 1/255, NCHW; ranges 1"


Ranges: TypeAlias = Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Key:
    """Identifies what a calibration was made from.

    Attributes:
        model: SHA-256 (hex) of the float32 graph, weights included.
        frames: SHA-256 (hex) over the calibration frames' pixels.
        preprocessing: how frames became network inputs, with the input size, as text.
    """

    model: str
    frames: str
    preprocessing: str

    @classmethod
    def of(cls, model: onnx.ModelProto, frames_sha256: str, input_wh: tuple[int, int]) -> Key:
        """Make the key of a calibration.

        Args:
            model: float32, every node with a name.
            frames_sha256: hex digest over the frames' pixels.
            input_wh: network input (width, height), pixels.
        """
        content = model.SerializeToString(deterministic=True)
        size = f"{input_wh[0]}x{input_wh[1]}"
        return cls(hashlib.sha256(content).hexdigest(), frames_sha256, f"{size} {PREPROCESSING}")


def load_thresholds(path: Path, key: Key, method: str, model: onnx.ModelProto) -> dict[str, float] | None:
    """The cached threshold of each tensor by `method`; None if the cache is missing, damaged, or has another key."""
    try:
        raw = _read(path, key)
        found = {str(name): float(value) for name, value in raw["thresholds"][method].items()} if raw else None
    except (ValueError, KeyError, TypeError, AttributeError):
        found = None
    if found is None:
        logger.info("%s holds no %s calibration that fits; calibrating", path, method)
        return None
    if set(found) != set(activations(model)) or not all(math.isfinite(value) and value > 0 for value in found.values()):
        logger.warning("%s does not fit the model although its key does; calibrating", path)
        return None
    return found


def load_ranges(path: Path, key: Key, tensors: Sequence[str]) -> Ranges | None:
    """The cached (low, high) of each tensor for the CPU; None if the cache is missing, damaged, or has another key."""
    try:
        raw = _read(path, key)
        found = {str(name): (float(low), float(high)) for name, (low, high) in raw["cpu"].items()} if raw else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if found is None or set(found) != set(tensors):
        return None
    sound = all(math.isfinite(low) and math.isfinite(high) and low <= 0 <= high for low, high in found.values())
    return found if sound else None


def _read(path: Path, key: Key) -> dict[str, Any] | None:
    """The cache's content; None if it is missing or has another key.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is damaged.
    """
    try:
        raw: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except OSError:
        return None
    recorded = Key(**raw["key"])
    changed = [name for name in ("model", "frames", "preprocessing") if getattr(recorded, name) != getattr(key, name)]
    if raw.get("schema") != SCHEMA or changed:
        logger.info("%s was made for another %s", path, " and ".join(changed) or "schema")
        return None
    return raw


def save_cache(
    path: Path, key: Key, frames: int, *, thresholds: Mapping[str, Mapping[str, float]], cpu: Ranges
) -> None:
    """Write the cache, completely or not at all.

    Args:
        path: of the file.
        key: what the calibration was made from.
        frames: number of calibration frames.
        thresholds: by method, then by tensor.
        cpu: (low, high) of each tensor of the graph for the CPU.

    Raises:
        EdgedError: it cannot be written.
    """
    content = {
        "schema": SCHEMA,
        "key": {"model": key.model, "frames": key.frames, "preprocessing": key.preprocessing},
        "frames": frames,
        "thresholds": thresholds,
        "cpu": cpu,
    }
    with atomic_writer(path) as file:
        file.write((json.dumps(content, indent=1, sort_keys=True) + "\n").encode())
