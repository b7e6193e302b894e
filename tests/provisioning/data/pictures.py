"""Small pictures and data sets for the tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from edged.core.types import Pixels


def noise_picture(width: int, height: int, *, seed: int = 0) -> Pixels:
    """A picture unlike any other seed's."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(pixels: Pixels, suffix: str = ".jpg") -> bytes:
    """The file's content."""
    done, content = cv2.imencode(suffix, pixels)
    assert done
    return content.tobytes()


def write_picture(path: Path, width: int = 32, height: int = 24, *, seed: int = 0) -> Path:
    """A picture file of the format that its suffix names; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(noise_picture(width, height, seed=seed), path.suffix))
    return path


def write_dataset(folder: Path, labels: Mapping[str, str], *, names: str = "[a, b]") -> Path:
    """A data set with one picture a label text (None-like empty text: background); `split/name` -> text."""
    for number, (place, text) in enumerate(sorted(labels.items())):
        write_picture(folder / "images" / f"{place}.png", seed=number)
        label = folder / "labels" / f"{place}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(text)
    splits = sorted({place.split("/")[0] for place in labels})
    lines = [f"{split}: images/{split}" for split in splits]
    file = folder / "data.yaml"
    file.write_text("\n".join([*lines, f"names: {names}"]) + "\n")
    return file
