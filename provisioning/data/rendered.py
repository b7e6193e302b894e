"""Makes a data set of rendered street scenes with exact labels, for tests and for the demo's model."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from edged.core.boxes import box_xyxy_to_cxcywh
from edged.core.errors import EdgedError
from edged.core.types import Floats, Pixels
from edged.demo.scene import Scene

CLASSES = ("person",)
_SHAPES = ((416, 234), (416, 260), (416, 312), (416, 416), (312, 416))
_MINUTE_S = 60.0


def render_dataset(folder: Path, *, train: int, val: int, seed: int, progress: bool = False) -> None:
    """Write a YOLO data set: `data.yaml`, images and labels of train and val. Each picture shows another scene.

    Args:
        folder: made if it does not exist.
        train, val: number of pictures of each split.
        seed: of the first scene; the next scene has the next number, and val follows train.
        progress: show a bar on a terminal.

    Raises:
        EdgedError: the folder cannot be written.
    """
    with tqdm(total=train + val, unit="picture", disable=None if progress else True) as bar:
        for number in range(train + val):
            split = "train" if number < train else "val"
            rng = np.random.default_rng([seed, number])
            pixels, xyxy = Scene(seed + number, _SHAPES[rng.integers(len(_SHAPES))]).frame(
                float(rng.uniform(0, _MINUTE_S))
            )
            _write_sample(folder, split, f"scene_{seed + number:06d}", pixels, xyxy, quality=int(rng.integers(60, 96)))
            bar.update()
    names = "\n".join(f"  {number}: {name}" for number, name in enumerate(CLASSES))
    _write(folder / "data.yaml", f"train: images/train\nval: images/val\nnames:\n{names}\n".encode())


def label_lines(cxcywh: Floats, class_id: Floats | np.ndarray[tuple[int, ...], np.dtype[np.int32]]) -> str:
    """The text of a label file, from (N, 4) centre and size as fractions of the picture and (N,) class ids."""
    rows = zip(class_id, cxcywh, strict=True)
    return "".join(f"{int(number)} {' '.join(f'{value:.6f}' for value in box)}\n" for number, box in rows)


def _write_sample(folder: Path, split: str, name: str, pixels: Pixels, xyxy: Floats, *, quality: int) -> None:
    done, content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise EdgedError(f"{name} cannot be encoded as JPEG")
    size = np.array((pixels.shape[1], pixels.shape[0]) * 2, np.float32)
    lines = label_lines(box_xyxy_to_cxcywh(xyxy) / size, np.zeros(len(xyxy), np.int32))
    _write(folder / "images" / split / f"{name}.jpg", content.tobytes())
    _write(folder / "labels" / split / f"{name}.txt", lines.encode())


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as exc:
        raise EdgedError(f"{path} cannot be written: {exc.strerror}", remedy="free some space or choose --to") from exc
