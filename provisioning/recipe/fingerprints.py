"""What tells whether something outside the workshop changed: names, sizes and times of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from edged.core.errors import DataError
from provisioning.data.samples import label_path, list_pictures
from provisioning.data.spec import read_spec
from provisioning.frames.sources import is_stream


def of_source(source: str) -> str:
    """Of a source of frames: the files of a video or folder, of a camera its address.

    Raises:
        DataError: it does not exist.
    """
    path = Path(source)
    if is_stream(source):
        return hashlib.sha256(source.encode()).hexdigest()  # it may hold a password
    if not path.exists():
        raise DataError(f"{source} does not exist", remedy="correct frames in [provision]")
    return _of_files(sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path])


def of_dataset(file: Path) -> str:
    """Of a data set: its YAML, every picture that it names, and their labels.

    Raises:
        DataError: the YAML or one of its sources cannot be read.
    """
    spec = read_spec(file)
    pictures = list_pictures([source for sources in spec.sources.values() for source in sources])
    return _of_files([spec.file, *pictures, *filter(Path.exists, map(label_path, pictures))])


def _of_files(files: Iterable[Path]) -> str:
    facts = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
