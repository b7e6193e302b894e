"""Finds the pictures that annotations name, although the names come from other machines and tools."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from edged.core.errors import DataError
from provisioning.data.pictures import FORMATS

_PARENT = ".."


class PictureFinder:
    """Finds pictures even if case, suffix, separators or leading folders differ. Lists each folder only once."""

    def __init__(self) -> None:
        self._listed: dict[Path, dict[str, list[str]]] = {}

    def find(self, name: str, folders: Sequence[Path]) -> Path | None:
        """The picture of that name in the first folder that has it; None if none has it.

        Backslashes count as slashes. The exact name comes first, then a name in another case, then a name without its
        suffix. A name with `..` is never found.

        Raises:
            ValueError: several pictures fit equally well.
        """
        parts = name_parts(name)
        if not parts or _PARENT in parts:
            return None
        for folder in folders:
            found = folder / name if name in self._alike(folder, name) else self._below(folder, parts)
            if found is not None and found.is_file():
                return found
        return None

    def find_end(self, name: str, folders: Sequence[Path]) -> Path | None:
        r"""As `find`, by the longest end of the path that is found: `images/a.jpg`, then `a.jpg` of `C:\images\a.jpg`.

        Raises:
            ValueError: several pictures fit equally well.
        """
        parts = name_parts(name)
        ends = ("/".join(parts[first:]) for first in range(1, len(parts)))
        return next((path for end in ends if (path := self.find(end, folders))), None)

    def _below(self, folder: Path, parts: Sequence[str]) -> Path | None:
        for part in parts[:-1]:
            found = _chosen(part, self._alike(folder, part), folder)
            if not found:
                return None
            folder /= found
        last = parts[-1]
        candidates = self._alike(folder, last)
        if not candidates and Path(last).suffix.lower() not in FORMATS:
            candidates = [name for suffix in FORMATS for name in self._alike(folder, last + suffix)]
            candidates = [name for name in candidates if Path(name).stem == last] or candidates
        found = _chosen(last, candidates, folder)
        return folder / found if found else None

    def _alike(self, folder: Path, name: str) -> list[str]:
        return self._names(folder).get(_key(name), [])

    def _names(self, folder: Path) -> dict[str, list[str]]:
        """File names in a folder by their `_key`; empty if there is no such folder."""
        if folder not in self._listed:
            found: dict[str, list[str]] = {}
            try:
                names = sorted(os.listdir(folder))
            except OSError:
                names = []
            for name in names:
                found.setdefault(_key(name), []).append(name)
            self._listed[folder] = found
        return self._listed[folder]


def _chosen(name: str, candidates: Sequence[str], folder: Path) -> str:
    if name in candidates:
        return name
    if len(candidates) > 1:
        raise ValueError(f"several are called {name!r} in {folder}: {', '.join(candidates)}")
    return candidates[0] if candidates else ""


def name_parts(name: str) -> list[str]:
    """The parts of a path of any operating system, without drive and root."""
    parts = [part for part in name.strip().replace("\\", "/").split("/") if part not in ("", ".")]
    return parts[1:] if parts and len(parts[0]) == len("C:") and parts[0].endswith(":") else parts


def files_below(folder: Path, suffix: str) -> Iterator[Path]:
    """Every file with that suffix (lower case; in the name in any case), in linked folders, too; no hidden names.

    Raises:
        DataError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise DataError(f"folder {error.filename} cannot be read: {error.strerror}") from error

    seen: set[tuple[int, int]] = set()  # folders visited: a link to a folder above would never end
    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(place, name)
            # A dead link is reported where it is read. A pipe is no file: reading it would hang.
            is_file = path.is_file() or not path.exists()
            if not name.startswith(".") and name.lower().endswith(suffix) and is_file:
                yield path


def _key(name: str) -> str:
    """The same key for names that differ only in case or in composed accents, as macOS writes them."""
    return unicodedata.normalize("NFC", name).casefold()
