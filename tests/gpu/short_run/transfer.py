"""Archives cut into folders that each fit one transfer, and put together again on the other side.

The standard library only. A folder holds pieces of archives and `content.json`, which says what they are and how large
the whole is, so that a lost, damaged or forgotten transfer is told before anything is unpacked.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SCHEMA = "edged.gpu-files/1"
CONTENT = "content.json"
SUFFIX = ".tar.xz"
MIB = 1 << 20
CONTENT_BYTES = 64 << 10  # kept free for the list
_LEAST_PIECE = 64 << 10  # no smaller one is cut off; the rest of an archive may be smaller
_CHUNK = 1 << 20


class TransferError(Exception):
    """What is wrong with the files, and how to mend it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an archive.

    Attributes:
        archive: its name, e.g. `rtx`.
        file: in the folder.
        offset: of its first byte in the archive.
        nbytes: of it.
        sha256: of it.
    """

    archive: str
    file: str
    offset: int
    nbytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Whole:
    """An archive: its size in bytes and its SHA-256."""

    nbytes: int
    sha256: str


def lay(groups: Sequence[Sequence[Path]], out: Path, *, folder_bytes: int) -> list[Path]:
    """Cut archives into numbered folders.

    Args:
        groups: archives, NAME.tar.xz, in the order in which they are needed; each group begins a folder of its own.
        out: gets the folders `1`, `2`, ...; earlier ones there are removed.
        folder_bytes: that no folder may exceed.

    Returns:
        The folders.

    Raises:
        TransferError: `folder_bytes` leaves no room.
    """
    if folder_bytes < CONTENT_BYTES + _LEAST_PIECE:
        raise TransferError(f"{folder_bytes} bytes a folder leave no room for anything")
    cuts = [cut for group in groups for cut in _cuts(group, folder_bytes - CONTENT_BYTES)]
    archives = {
        _name(path): Whole(path.stat().st_size, digest(path.read_bytes())) for group in groups for path in group
    }
    for old in out.glob("[0-9]*"):
        shutil.rmtree(old)
    folders = []
    for number, cut in enumerate(cuts, 1):
        folder = out / str(number)
        folder.mkdir(parents=True)
        pieces = [_write_piece(folder, path, offset, nbytes) for path, offset, nbytes in cut]
        content = {
            "schema": SCHEMA,
            "number": number,
            "of": len(cuts),
            "archives": {name: asdict(whole) for name, whole in archives.items()},
            "pieces": [asdict(piece) for piece in pieces],
        }
        (folder / CONTENT).write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        folders.append(folder)
    return folders


def _cuts(group: Sequence[Path], room_bytes: int) -> Iterator[list[tuple[Path, int, int]]]:
    """For each folder: archive, offset, bytes."""
    cut: list[tuple[Path, int, int]] = []
    room = room_bytes
    for path in group:
        size, offset = path.stat().st_size, 0
        while offset < size:
            if room < min(_LEAST_PIECE, size - offset):
                yield cut
                cut, room = [], room_bytes
            nbytes = min(room, size - offset)
            cut.append((path, offset, nbytes))
            offset, room = offset + nbytes, room - nbytes
    if cut:
        yield cut


def _write_piece(folder: Path, path: Path, offset: int, nbytes: int) -> Piece:
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read(nbytes)
    name = f"{path.name}.{offset // MIB:04}"
    (folder / name).write_bytes(content)
    return Piece(_name(path), name, offset, nbytes, digest(content))


def _name(path: Path) -> str:
    return path.name.removesuffix(SUFFIX)


def digest(content: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def receive(folder: Path, work: Path) -> list[str]:
    """Add a folder's pieces to the archives in `work`; the same folder again changes nothing.

    Returns:
        The archives that have pieces in it.

    Raises:
        TransferError: it is not a folder of `lay`, a piece is damaged, or one before it has not come.
    """
    content = _content(folder)
    pieces = [Piece(**piece) for piece in content["pieces"]]
    work.mkdir(parents=True, exist_ok=True)
    for piece in pieces:
        data = _read(folder / piece.file)
        if len(data) != piece.nbytes or digest(data) != piece.sha256:
            raise TransferError(f"{folder / piece.file} is damaged; carry {folder} again")
        whole = Whole(**content["archives"][piece.archive])
        _place(piece, data, whole, work)
    return [piece.archive for piece in pieces]


def _content(folder: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads((folder / CONTENT).read_text("utf-8"))
    except (OSError, ValueError) as exc:
        raise TransferError(f"{folder / CONTENT} cannot be read ({exc}); make and carry it: make gpu-files") from exc
    if content.get("schema") != SCHEMA:
        raise TransferError(f"{folder}: schema {content.get('schema')!r}, expected {SCHEMA!r}; make gpu-files again")
    return content


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise TransferError(f"{path} cannot be read: {exc.strerror}; carry {path.parent} again") from exc


def _place(piece: Piece, data: bytes, whole: Whole, work: Path) -> None:
    """At its offset; what is there of another laying goes."""
    path, wanted = work / f"{piece.archive}{SUFFIX}", work / f"{piece.archive}.json"
    if not wanted.exists() or json.loads(wanted.read_text("utf-8")) != asdict(whole):
        path.unlink(missing_ok=True)
        wanted.write_text(json.dumps(asdict(whole)), "utf-8")
    path.touch()
    there = path.stat().st_size
    if there < piece.offset:
        raise TransferError(
            f"{piece.file} begins at byte {piece.offset} of {piece.archive}, but only {there} came before; "
            "receive the folders in the order of their numbers"
        )
    with path.open("r+b") as file:
        file.seek(piece.offset)
        file.write(data)


def unpack(name: str, work: Path) -> Path:
    """The folder of a whole archive, unpacked once.

    Raises:
        TransferError: the archive has not come, not wholly, or damaged.
    """
    path, record, folder = work / f"{name}{SUFFIX}", work / f"{name}.json", work / name
    done = work / f"{name}.unpacked"
    if not record.exists():
        raise TransferError(f"{name} has not come; carry the folders that `make gpu-files` says hold it")
    whole = Whole(**json.loads(record.read_text("utf-8")))
    if done.exists() and done.read_text("utf-8") == whole.sha256:
        return folder
    there = path.stat().st_size
    if there < whole.nbytes:
        raise TransferError(f"{name} is not whole: {there} of {whole.nbytes} bytes came; carry the folders that follow")
    if _file_digest(path) != whole.sha256:
        raise TransferError(f"{name} is damaged; remove {work} and carry its folders again")
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(path, "r:xz") as archive:
        # Filters came within Python 3.10 and 3.11; without them the hash says that it is the archive that was made.
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _path: member)
        archive.extractall(folder)
    done.write_text(whole.sha256, "utf-8")
    return folder


def _file_digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()
