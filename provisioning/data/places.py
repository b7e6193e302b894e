"""Where the files of a data set are: paths as other machines and tools write them, and what folders hold."""

from __future__ import annotations

import errno
import os
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from edged.core.errors import DataError
from provisioning.data.pictures import FORMATS

_CVAT_ROOT = "data"  # CVAT writes every path below a folder that its archive does not hold
_UNWRITABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, broken encoding, ends of lines


def is_there(path: Path, *, follow: bool = True) -> bool:
    """Whether something of that name exists, readable or not: what a person may not look into is no absent file.

    Args:
        path: of the file or folder.
        follow: whether it is the target of a link that must exist.
    """
    try:
        os.stat(path, follow_symlinks=follow)
    except ValueError:  # a NUL
        return False
    except OSError as exc:
        return exc.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
    return True


def is_hidden(path: Path, *, below: Path) -> bool:
    """Whether a name in `path`, from the folder `below` on, begins with a dot: `._a.jpg`, `.ipynb_checkpoints/a.jpg`.

    Of a path that is not below that folder, the file's own name counts.
    """
    parts = path.relative_to(below).parts if path.is_relative_to(below) else (path.name,)
    return any(part.startswith(".") for part in parts)


def find_place(text: str, *folders: Path) -> Path:
    """The first that exists of what a path in a data set may mean; where none does, its plain meaning.

    Backslashes separate as slashes do. Tried at each folder: the path itself, then without its leading `..` (Roboflow's
    YAML says `../train/images` for what lies beside it), then without a leading `data/` (CVAT's).

    Args:
        text: as written.
        folders: where relative paths may start, at least one.

    Returns:
        An absolute path without `..`; symbolic links are kept, for labels belong to the name that the data set uses.
    """
    plain = _path(text.replace("\\", "/"))
    meanings = dict.fromkeys((_path(text), plain, _shortened(plain)))
    candidates = (folder / each for folder in folders for each in meanings)
    found = next((path for path in candidates if is_there(path)), None)
    lexical = Path(os.path.abspath(found or folders[0] / plain))
    return found.resolve() if found and not is_there(lexical) else lexical  # `..` behind a linked folder


def plain_place(text: str, folder: Path) -> Path:
    """What a path says word for word, absolute and without `..`, whether it exists or not."""
    return Path(os.path.abspath(folder / _path(text.replace("\\", "/"))))


def place_beside(text: str, folder: Path) -> Path:
    """What `find_place` takes where the plain path does not exist: without its leading `..` or `data/`."""
    return Path(os.path.abspath(folder / _shortened(_path(text.replace("\\", "/")))))


def is_unwritable(text: str) -> bool:
    """Whether a path holds what no list file, report or table can hold. Spaces of any script and emoji are fine."""
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
        return True  # a dead link, or none that may be read: who reads it says so


def pictures_below(folder: Path) -> Iterator[Path]:
    """Every picture in a folder and its subfolders, linked ones too, even where the link leads nowhere; nothing hidden.

    Raises:
        DataError: a folder that cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise DataError(f"folder {error.filename} cannot be read: {error.strerror}") from error

    def identity(place: str | Path) -> tuple[int, int]:
        status = os.stat(place)
        return status.st_dev, status.st_ino

    seen = {identity(above) for above in folder.resolve().parents}  # a link to one of them would bring in other splits
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
