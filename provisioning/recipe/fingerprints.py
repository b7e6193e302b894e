"""Fingerprints of files outside the workshop, by name, size and modification time: they tell whether one changed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from edged.core.errors import DataError
from edged.core.redact import redact, remember_source
from edged.core.secrets import hide
from provisioning.data.label_files import label_path
from provisioning.data.places import is_hidden
from provisioning.data.samples import list_pictures
from provisioning.data.spec import read_spec
from provisioning.frames.sources import is_stream


def of_source(source: str) -> str:
    """SHA-256 (hex) for a source of frames: of the files of a video or folder, or of the address of a camera.

    Raises:
        DataError: it does not exist.
    """
    path = Path(source)
    if is_stream(source):
        remember_source(source)
        # Without the password: a weak one can be guessed from a hash.
        return hashlib.sha256(hide(source).encode()).hexdigest()
    if not path.exists():
        raise DataError(f"{redact(source)} does not exist", remedy="correct frames in [provision]")
    below = (file for file in path.rglob("*") if file.is_file() and not is_hidden(file, below=path))
    return _of_files(sorted(below) if path.is_dir() else [path])


def of_dataset(file: Path) -> str:
    """SHA-256 (hex) for a data set: its YAML, its classes, every picture that it names, and their labels.

    Raises:
        DataError: the YAML or one of its sources for train and val cannot be read.
    """
    spec = read_spec(file)
    sources = [
        source for split, given in spec.sources.items() for source in given if split != "test" or os.path.exists(source)
    ]
    pictures = list_pictures(sources, root=spec.folder)
    labels = [label_path(picture, root=spec.folder) for picture in pictures]
    files = _of_files([spec.file, *filter(os.path.exists, [*pictures, *labels])])
    facts = [files, spec.names]  # the names may come from another file than the YAML
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _of_files(files: Iterable[Path]) -> str:
    facts = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
