"""Writes the files of a bundle directory, and checks that a bundle is intact and verified."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from edged.core.bundle import MANIFEST, Bundle
from edged.core.errors import BundleMismatch, DataError
from edged.core.manifest import FileRecord, Manifest
from edged.store.files import sync_directory
from provisioning.command_line import command_line

_DIRECTORY_MODE = 0o755
_FILE_MODE = 0o644
_BLOCK_BYTES = 1 << 20


def write_bundle(directory: Path, manifest: Manifest, files: Mapping[str, bytes | Path]) -> str:
    """Make `directory` and write every file and the manifest into it, synced to the disk.

    Args:
        directory: empty, or does not exist yet.
        manifest: its `files` are replaced by records of what is written.
        files: by name, the content, or the file to copy it from.

    Returns:
        The digest that names the bundle: SHA-256 of the manifest's bytes, lower-case hex.

    Raises:
        OSError: a file cannot be read or written.
    """
    make_directory(directory)
    records = {name: _write(directory / name, content) for name, content in sorted(files.items())}
    text = dataclasses.replace(manifest, files=records).to_json().encode()
    digest = _write(directory / MANIFEST, text).sha256
    sync_directory(directory)
    return digest


def make_directory(directory: Path) -> None:
    """Make a directory (and its parents) that others can read but not write, whatever the umask is.

    Raises:
        OSError: it cannot be made.
    """
    if not directory.is_dir():
        directory.mkdir(parents=True)
        directory.chmod(_DIRECTORY_MODE)


def require_whole(directory: Path) -> None:
    """Check that the bundle in `directory`, whose name is its digest, is intact, byte by byte.

    Raises:
        DataError: a file is missing or was changed.
        BundleMismatch: this version cannot read the bundle.
    """
    bundle = Bundle.open(directory)
    for name in bundle.manifest.files:
        bundle.read(name)
    digest = hashlib.sha256((directory / MANIFEST).read_bytes()).hexdigest()
    if digest != directory.name:
        raise DataError(
            f"{directory / MANIFEST}: expected SHA-256 {directory.name}, got {digest}",
            remedy="the file was altered: provision the model again",
        )


def require_verified(manifest: Manifest, *, store: Path) -> None:
    """Check that the bundle runs the float32 model, or that what it runs has passed verification.

    Args:
        manifest: of the bundle.
        store: in which it lies, for the command that verifies it.

    Raises:
        DataError: it was not verified, or did not pass.
    """
    if manifest.precision == "fp32" and not manifest.engines:
        return
    said = manifest.report.get("verdict")
    passed = manifest.report.get("passed")
    engine = next((each for each in manifest.engines if each.precision == manifest.precision), None)
    if passed and engine is not None and manifest.report.get("file"):
        passed, said = False, f"its graph for a CPU passed, but {engine.file} was never held against float32"
    if passed:
        return
    verify = command_line("verify", manifest.name, "--frames", "DIR", "--activate", store=store)
    raise DataError(
        f"{manifest.name} is not activated: " + (f"{said}" if said else "it was never held against float32"),
        remedy=f"run: {verify} (or insist with --unverified)",
    )


def is_whole(directory: Path) -> bool:
    """Whether the bundle in `directory` is intact and can be read by this version."""
    try:
        require_whole(directory)
    except (DataError, BundleMismatch, OSError):
        return False
    return True


def _write(path: Path, content: bytes | Path) -> FileRecord:
    digest, size = hashlib.sha256(), 0
    with contextlib.ExitStack() as stack:
        blocks: Iterable[bytes] = (content,) if isinstance(content, bytes) else ()
        if isinstance(content, Path):
            source = stack.enter_context(content.open("rb"))
            blocks = iter(lambda: source.read(_BLOCK_BYTES), b"")
        target = stack.enter_context(path.open("xb"))
        for block in blocks:
            digest.update(block)
            size += len(block)
            target.write(block)
        target.flush()
        os.fchmod(target.fileno(), _FILE_MODE)
        os.fsync(target.fileno())
    return FileRecord(sha256=digest.hexdigest(), bytes=size)
