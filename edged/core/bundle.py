"""Opens a model bundle and reads each of its files once, verified, so that what was hashed is what runs."""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path

from edged.core.errors import BundleMismatch, DataError
from edged.core.manifest import MAX_MANIFEST_BYTES, Manifest

MANIFEST = "manifest.json"
MODEL = "model.onnx"
MODEL_INT8 = "model.int8.onnx"  # for TensorRT
MODEL_INT8_CPU = "model.int8.cpu.onnx"  # for ONNX Runtime on a CPU
OBJECTS = ".objects"  # a store keeps bundles here, by hash; DIR/NAME and DIR/active are links to them
ACTIVE = "active"


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle: its real directory and its checked manifest.

    Attributes:
        directory: absolute, links resolved, so that it stays the same bundle when `active` is moved.
        manifest: its checked content.
    """

    directory: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """Open the bundle at `path`, a directory or a store's link to one. Reads the manifest only.

        Raises:
            BundleMismatch: nothing is there, or the manifest's schema or kind of decode is not known to this release.
            DataError: not a bundle, a malformed manifest, writable by everyone, or a link that is not followed.
        """
        directory = _resolved(path)
        _refuse_writable_by_others(directory)
        text = _read_regular(directory / MANIFEST, limit=MAX_MANIFEST_BYTES)
        try:
            manifest = Manifest.from_json(text.decode(), where=str(directory / MANIFEST))
        except UnicodeDecodeError as exc:
            raise DataError(f"{directory / MANIFEST}: not UTF-8 at byte {exc.start}") from exc
        return cls(directory=directory, manifest=manifest)

    def read(self, name: str) -> bytes:
        """The content of one file, verified against the manifest.

        Raises:
            BundleMismatch: the bundle has no such file.
            DataError: missing, truncated, altered, a link, or writable by everyone.
        """
        record = self.manifest.files.get(name)
        if record is None:
            raise BundleMismatch(
                f"bundle {self.directory} holds no {name} (it holds {', '.join(sorted(self.manifest.files))})",
                remedy="make it with edged-provision",
            )
        content = _read_regular(self.directory / name, limit=record.bytes)
        digest = hashlib.sha256(content).hexdigest()
        if len(content) != record.bytes or digest != record.sha256:
            raise DataError(
                f"{self.directory / name}: expected {record.bytes} bytes with SHA-256 {record.sha256}, "
                f"got {len(content)} bytes with {digest}",
                remedy="the file is damaged or was altered: provision the model again",
            )
        return content


def _resolved(path: Path) -> Path:
    """The bundle's real directory; only a link into its own store's `.objects` is followed."""
    try:
        if path.is_symlink():
            target = path.resolve(strict=True)
            if target.parent != path.parent.resolve() / OBJECTS:
                raise DataError(f"{path} links to {target}, outside its store's {OBJECTS}; refused")
            return target
        directory = path.resolve(strict=True)
    except (OSError, RuntimeError) as exc:  # RuntimeError: a loop of links, before Python 3.13
        reason = exc.strerror if isinstance(exc, OSError) else "a loop of links"
        raise BundleMismatch(
            f"model bundle {path} cannot be opened: {reason}",
            remedy="make one with: edged-provision import WEIGHTS.pt --name NAME",
        ) from exc
    if not directory.is_dir():
        hint = "run: edged-provision import" if path.suffix == ".pt" else "name the directory that holds manifest.json"
        raise DataError(f"{path} is not a model bundle but a file", remedy=hint)
    return directory


def _refuse_writable_by_others(path: Path) -> None:
    if path.stat().st_mode & stat.S_IWOTH:
        raise DataError(f"{path} is writable by everyone; refused", remedy=f"chmod o-w {shlex.quote(str(path))}")


def _read_regular(path: Path, *, limit: int) -> bytes:
    """Read a regular file that is no link and not writable by everyone; at most `limit` + 1 bytes."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as exc:
        problem = "is a link, which is refused" if path.is_symlink() else f"cannot be read: {exc.strerror}"
        raise DataError(f"{path} {problem}", remedy="a bundle is a directory made by edged-provision") from exc
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise DataError(f"{path} is not a regular file; refused")
        if mode & stat.S_IWOTH:
            raise DataError(f"{path} is writable by everyone; refused", remedy=f"chmod o-w {shlex.quote(str(path))}")
        return file.read(limit + 1)
