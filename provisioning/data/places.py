"""Finds the files of a data set: paths as other machines and tools write them, and pictures in folders."""

from __future__ import annotations

import errno
import os
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from edged.core.errors import DataError
from provisioning.data.pictures import FORMATS

_CVAT_ROOT = "data"  # CVAT's paths begin with this folder, which its archives do not have
_UNWRITABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, surrogates, line separators


def is_there(path: Path, *, follow: bool = True) -> bool:
    """Whether the file or folder exists. If it cannot be accessed, it counts as existing.

    Args:
        path: of the file or folder.
        follow: whether the target of a link must exist; otherwise the link itself is enough.
    """
    try:
        os.stat(path, follow_symlinks=follow)
    except ValueError:  # the path holds a NUL
        return False
    except OSError as exc:
        return exc.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
    return True


def is_hidden(path: Path, *, below: Path) -> bool:
    """Whether a part of `path` below the folder `below` begins with a dot: `._a.jpg`, `.ipynb_checkpoints/a.jpg`.

    If the path is not below that folder, only the file's own name counts.
    """
    parts = path.relative_to(below).parts if path.is_relative_to(below) else (path.name,)
    return any(part.startswith(".") for part in parts)


def find_place(text: str, *folders: Path) -> Path:
    """Find the file or folder that a path in a data set means.

    Backslashes count as slashes. In each folder these are tried: the path itself, without its leading `..` (Roboflow's
    YAML says `../train/images` for a folder beside it), without a leading `data/` (CVAT's).

    Args:
        text: the path as written.
        folders: where relative paths may start, at least one.

    Returns:
        The first that exists, else the path itself in the first folder; absolute, without `..`. Symbolic links are
        kept, as labels belong to the name that the data set uses.
    """
    plain = _path(text.replace("\\", "/"))
    meanings = dict.fromkeys((_path(text), plain, _shortened(plain)))
    candidates = (folder / each for folder in folders for each in meanings)
    found = next((path for path in candidates if is_there(path)), None)
    lexical = Path(os.path.abspath(found or folders[0] / plain))
    # `..` after a linked folder means another place than the text says.
    return found.resolve() if found and not is_there(lexical) else lexical


def plain_place(text: str, folder: Path) -> Path:
    """The path exactly as written, absolute, without `..`; it may not exist."""
    return Path(os.path.abspath(folder / _path(text.replace("\\", "/"))))


def place_beside(text: str, folder: Path) -> Path:
    """The path without its leading `..` or `data/`, which `find_place` tries if the plain one does not exist."""
    return Path(os.path.abspath(folder / _shortened(_path(text.replace("\\", "/")))))


def is_unwritable(text: str) -> bool:
    """Whether a path has characters that break list files, reports and tables; spaces and emoji do not."""
    return not text.isprintable() and any(unicodedata.category(letter) in _UNWRITABLE for letter in text)


def _path(text: str) -> Path:
    return Path(os.path.expanduser(text))


def _shortened(path: Path) -> Path:
    parts = list(path.parts)
    while parts and parts[0] in {"..", "."}:
        parts.pop(0)
    if len(parts) == len(path.parts) and parts[:1] == [_CVAT_ROOT]:
        parts.pop(0)
    return Path(*parts)


def _may_be_picture(path: Path) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return True  # a dead link, or no permission: reported where it is read


def pictures_below(folder: Path) -> Iterator[Path]:
    """Every picture in a folder and its subfolders, also linked ones and dead links; hidden names are left out.

    Raises:
        DataError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise DataError(f"folder {error.filename} cannot be read: {error.strerror}") from error

    def identity(place: str | Path) -> tuple[int, int]:
        status = os.stat(place)
        return status.st_dev, status.st_ino

    seen = {identity(above) for above in folder.resolve().parents}  # a link to a folder above would add other splits
    for place, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        if identity(place) in seen:
            folders.clear()
            continue
        seen.add(identity(place))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            path = Path(place, name)
            if name.startswith(".") or path.suffix.lower() not in FORMATS:
                continue
            if _may_be_picture(path):
                yield path
