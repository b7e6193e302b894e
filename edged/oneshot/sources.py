"""Expands the sources of the command line to single ones, each with a unique name for files and messages."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from edged.capture.sources.kinds import PICTURE_SUFFIXES
from edged.core.errors import UsageError
from edged.core.names import RESERVED_CAMERA_NAMES
from edged.core.redact import redact, remember_source
from edged.core.sources import is_path

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv", ".flv"})


@dataclass(frozen=True, slots=True)
class Item:
    """One source.

    Attributes:
        source: as in `CameraSpec.source`.
        name: `[a-z0-9_-]+`, unique within one command; names the camera in messages and the files written.
        is_picture: a single picture, by its suffix.
    """

    source: str
    name: str
    is_picture: bool

    @property
    def shown(self) -> str:
        """The source without credentials."""
        return redact(self.source)


def expand(sources: Sequence[str]) -> list[Item]:
    """Replace folders and globs by their pictures and videos, in natural order, a folder's hidden files left out.

    Raises:
        UsageError: a folder or glob that holds no picture or video.
    """
    for source in sources:
        remember_source(source)
    taken: Counter[str] = Counter()
    return [_item(single, taken) for source in sources for single in _singles(source)]


def _singles(source: str) -> Iterable[str]:
    if not is_path(source):
        return [source]
    path = Path(source)
    if path.is_dir():
        found = _media(str(child) for child in path.iterdir() if not child.name.startswith("."))
        return _required(found, f"folder {source}")
    if glob.has_magic(source) and not path.exists():
        return _required(_media(glob.iglob(source, recursive=True)), f"pattern {source}")
    return [source]


def _media(paths: Iterable[str]) -> list[str]:
    wanted = PICTURE_SUFFIXES | VIDEO_SUFFIXES
    return sorted((path for path in paths if os.path.splitext(path)[1].lower() in wanted), key=_natural)


def _required(found: list[str], what: str) -> list[str]:
    if not found:
        raise UsageError(f"{what} holds no picture or video", remedy="name files, a folder of them, or a pattern")
    return found


def _natural(text: str) -> list[tuple[int, str]]:
    """A key that sorts `frame2` before `frame10`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def _item(source: str, taken: Counter[str]) -> Item:
    suffix = os.path.splitext(source)[1].lower()
    stem = "".join(_slug_parts(source)) or "source"
    taken[stem] += 1
    name = stem if taken[stem] == 1 else f"{stem}-{taken[stem]}"
    return Item(source=source, name=name, is_picture=suffix in PICTURE_SUFFIXES and is_path(source))


def _slug_parts(source: str) -> Iterator[str]:
    if "://" in source:
        text = urlsplit(redact(source)).netloc.rpartition("@")[2]
    else:
        text = Path(redact(source).partition("?")[0]).stem
    slug = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-")[:48]
    yield "camera-" + slug if slug in RESERVED_CAMERA_NAMES else slug
