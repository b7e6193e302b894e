"""Puts a pulled bundle into the store and activates it, if it runs on this machine."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edged.core.bundle import ACTIVE, Bundle
from edged.core.errors import EdgedError
from edged.core.types import Thresholds
from edged.cpu.choice import choose_graph
from edged.cpu.detector import CpuDetector
from edged.store.links import LOCK, digest_of, point
from edged.store.lock import FileLock
from provisioning.bundle_files import require_verified
from provisioning.registry.artifact import Blob
from provisioning.registry.connection import Connection
from provisioning.registry.pull import pull
from provisioning.store import Store, require_name


@dataclass(frozen=True, slots=True)
class Installed:
    """The active bundle; whether that changed; its digest in the registry before, if it was another; bytes fetched."""

    bundle: Bundle
    changed: bool
    before: str
    fetched_bytes: int


def install(
    connection: Connection, digest: str, blobs: Mapping[str, Blob], folder: Path, store: Store, *, name: str = ""
) -> Installed:
    """Pull, store, try on ONNX Runtime, and activate. After any error the active bundle is what it was before.

    Args:
        connection: to the repository.
        digest, blobs: from `resolve`.
        folder: for downloads; what is in it is kept after a failure, so that the next call goes on.
        store: gets the bundle.
        name: in the store; empty for the bundle's own.

    Raises:
        DataError: damaged, or quantised and never verified.
        Unreachable, EdgedError: see `pull`; or another process downloads into `folder`.
    """
    with alone_in(folder):
        pulled = pull(connection, digest, blobs, folder, store.root)
        manifest = dataclasses.replace(pulled.manifest, name=require_name(name or pulled.manifest.name))
        # What runs without an engine and without INT8 is float32, which needs no verification.
        plain = manifest.precision != "int8" and not manifest.engines
        if not plain:
            require_verified(manifest, store=store.root)
        with store.locked(), _name_kept(store, manifest.name):
            before = _pulled_before(store, manifest.name)
            entry = next((each for each in store.entries() if each.name == manifest.name), None)
            bundle = store.add(manifest, pulled.files)
            changed = entry is None or not entry.active or bundle.directory.name != entry.digest
            if changed:
                bundle = _activated(store, bundle, unverified=plain)
    return Installed(bundle, changed, before if before != digest else "", pulled.fetched_bytes)


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """While in it nobody else downloads into `folder`, which is emptied after success.

    Raises:
        EdgedError: another process does, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise EdgedError(
            f"{folder} cannot be made: {exc.strerror}", remedy="run as the user who owns it, or choose --work DIR"
        ) from exc
    with FileLock(folder / LOCK):
        yield
        with contextlib.suppress(OSError):  # the bundle is active
            for path in folder.iterdir():
                if path.name != LOCK:
                    path.unlink(missing_ok=True)


def _pulled_before(store: Store, name: str) -> str:
    try:
        return store.open(name).manifest.provenance.get("registry_digest", "")
    except EdgedError:
        return ""


def _activated(store: Store, bundle: Bundle, *, unverified: bool) -> Bundle:
    """Try the bundle on ONNX Runtime, which tests itself on a picture, and activate it."""
    graph = choose_graph(bundle.manifest, "auto").file
    CpuDetector(bundle, thresholds=Thresholds(), threads=1, file=graph).close()
    return store.activate(bundle.manifest.name, unverified=unverified)


@contextlib.contextmanager
def _name_kept(store: Store, name: str) -> Iterator[None]:
    """After an error the name leads to what it led to before, or is gone, unless the new bundle is active by then."""
    before, active = digest_of(store.root, name), digest_of(store.root, ACTIVE)
    try:
        yield
    except BaseException:
        if digest_of(store.root, ACTIVE) == active and digest_of(store.root, name) != before:
            if before:
                point(store.root, name, before)
            else:
                (store.root / name).unlink(missing_ok=True)
        raise
