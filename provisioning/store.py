"""A store of model bundles: content-addressed, written completely or not at all, named and activated by atomic renames.

`edged.store.links` lists what is in its directory.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edged.core.bundle import ACTIVE, OBJECTS, Bundle
from edged.core.errors import DataError, EdgedError, UsageError
from edged.core.manifest import Manifest
from edged.store.files import sync_directory
from edged.store.links import LOCK, PREVIOUS, UNFINISHED, digest_of, is_digest, point
from edged.store.lock import FileLock
from edged.store.trials import read_trials, write_trials
from provisioning.bundle_files import is_whole, make_directory, require_verified, require_whole, write_bundle

NAME_RULE = "letters, digits, dot, underscore and hyphen, at most 64, the first a letter or digit, not 'active'"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DISCARDED = ".discarded-"


@dataclass(frozen=True, slots=True)
class Entry:
    """One named bundle.

    Attributes:
        name: of its link in the store.
        digest: SHA-256 of its manifest, lower-case hex.
        active: the daemon runs this bundle.
        previous: `rollback` goes back to this bundle.
    """

    name: str
    digest: str
    active: bool
    previous: bool


class Store:
    """The bundles in one directory, which is made when the first one is added.

    Methods that change something hold the store's lock. While another process holds it, they raise EdgedError, which
    names that process. A kill or a full disk, at any point, leaves every link on a complete bundle.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = FileLock(root / LOCK)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock over several changes; the other methods may be called inside.

        Raises:
            EdgedError: another process holds it, or the directory cannot be made or written.
            DataError: the directory is writable by everyone.
        """
        try:
            for directory in (self.root, self._objects):
                make_directory(directory)
        except OSError as exc:
            raise EdgedError(
                f"model store {self.root} cannot be made: {exc.strerror}",
                remedy="run as the user who owns it, or choose another with --store DIR",
            ) from exc
        for directory in (self.root, self._objects):
            if directory.stat().st_mode & stat.S_IWOTH:
                raise DataError(f"{directory} is writable by everyone; refused", remedy=f"chmod o-w {directory}")
        with self._lock:
            yield

    def add(self, manifest: Manifest, files: Mapping[str, bytes | Path]) -> Bundle:
        """Write a bundle and name it `manifest.name`. If the store has the same content already, only the link is set.

        Args:
            manifest: complete but for `files`, which is filled in here.
            files: content by name in the bundle, or the file to copy it from.

        Raises:
            UsageError: the name is not allowed, or a file of that name is in the way.
            EdgedError: the disk is full, or the store is not writable or locked; the store is unchanged.
        """
        link = self.root / require_name(manifest.name)
        if link.exists() and not link.is_symlink():
            raise UsageError(
                f"{link} is in the way: it is not a link to a bundle", remedy="move it or take another name"
            )
        with self.locked(), _translated(self.root):
            self._sweep()
            unfinished = self._objects / f"{UNFINISHED}{os.getpid()}"
            try:
                digest = write_bundle(unfinished, manifest, files)
                self._keep(unfinished, digest)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
            self._link(manifest.name, digest)
        return Bundle.open(link)

    def activate(self, name: str, *, unverified: bool = False, again: bool = False) -> Bundle:
        """Make a named bundle the active one, remember the one before, and remove bundles that no link leads to.

        Args:
            name: of the bundle.
            unverified: also activate a quantised bundle, or one with an engine, that has not passed verification.
            again: also activate one that failed on this device before.

        Raises:
            UsageError: no such name, or it failed before.
            DataError: the bundle is damaged, or has not passed verification.
        """
        with self.locked(), _translated(self.root):
            digest = self._digest(require_name(name))
            if digest is None:
                known = ", ".join(self.names()) or "nothing"
                raise UsageError(f"store {self.root} has no bundle named {name} (it has {known})")
            if not unverified:
                require_verified(Bundle.open(self._objects / digest).manifest, store=self.root)
            self._allow(name, digest, again=again)
            self._activate(digest)
            self.collect_garbage()
        return Bundle.open(self.root / ACTIVE)

    def _allow(self, name: str, digest: str, *, again: bool) -> None:
        """Refuse what failed on this device; with `again` it is as though it were new."""
        trials = read_trials(self.root)
        refusal = trials.refused.get(digest)
        if refusal is None:
            return
        if not again:
            raise UsageError(
                f"{name} failed on this device at {refusal.at}: {refusal.reason}",
                remedy=f"edged-provision activate {name} --again tries it once more",
            )
        write_trials(self.root, trials.allowing(digest))

    def rollback(self) -> Bundle:
        """Make the previously active bundle active again; the one active now becomes the previous one.

        Raises:
            UsageError: no other bundle was active before.
            DataError: that bundle is damaged.
        """
        with self.locked(), _translated(self.root):
            digest = self._digest(PREVIOUS)
            if digest is None or digest == self._digest(ACTIVE):
                raise UsageError(f"store {self.root} has no earlier bundle to go back to")
            self._activate(digest)
        return Bundle.open(self.root / ACTIVE)

    def has_active(self) -> bool:
        """Whether a bundle is active."""
        return self._digest(ACTIVE) is not None

    def active(self) -> Bundle | None:
        """The active bundle; None if nothing was activated yet.

        Raises:
            BundleMismatch, DataError: it cannot be opened.
        """
        return Bundle.open(self.root / ACTIVE) if self.has_active() else None

    def entries(self) -> list[Entry]:
        """Every named bundle, sorted by name. Reads links only, so a damaged bundle is listed, too."""
        active, previous = self._digest(ACTIVE), self._digest(PREVIOUS)
        found = {name: self._digest(name) for name in self._links() if _is_name(name)}
        return [
            Entry(name, digest, active=digest == active, previous=digest == previous)
            for name, digest in sorted(found.items())
            if digest is not None
        ]

    def names(self) -> list[str]:
        """The names of `entries`."""
        return [entry.name for entry in self.entries()]

    def open(self, name: str) -> Bundle:
        """The bundle of a name, or of `active`.

        Raises:
            UsageError: the name is not allowed.
            BundleMismatch: there is none of that name, or this version cannot read it.
            DataError: it is damaged.
        """
        if name != ACTIVE:
            require_name(name)
        return Bundle.open(self.root / name)

    def collect_garbage(self) -> list[str]:
        """Remove every bundle that is neither named nor active nor previous, and the remains of killed runs.

        Returns:
            The digests removed.
        """
        with self.locked(), _translated(self.root):
            self._sweep()
            kept = {self._digest(link) for link in self._links()}
            removed = [path.name for path in self._objects.iterdir() if is_digest(path.name)]
            removed = sorted(set(removed) - {digest for digest in kept if digest})
            for digest in removed:
                self._discard(digest)
        return removed

    @property
    def _objects(self) -> Path:
        return self.root / OBJECTS

    def _links(self) -> list[str]:
        try:
            return [entry.name for entry in os.scandir(self.root) if entry.is_symlink()]
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise EdgedError(f"model store {self.root} cannot be read: {exc.strerror}") from exc

    def _digest(self, link: str) -> str | None:
        return digest_of(self.root, link)

    def _link(self, name: str, digest: str) -> None:
        point(self.root, name, digest)

    def _activate(self, digest: str) -> None:
        """Point `active` at a bundle after checking every byte of it."""
        require_whole(self._objects / digest)
        current = self._digest(ACTIVE)
        if current == digest:
            return
        # The current one is remembered first: after a kill between the two it is still active.
        if current is not None:
            self._link(PREVIOUS, current)
        self._link(ACTIVE, digest)

    def _keep(self, unfinished: Path, digest: str) -> None:
        """Give a finished bundle its final name; it replaces a damaged bundle of the same digest."""
        final = self._objects / digest
        if final.exists():
            if is_whole(final):
                return
            self._discard(digest)
        unfinished.rename(final)
        sync_directory(self._objects)

    def _discard(self, digest: str) -> None:
        # Renamed first: a kill during the removal then leaves no incomplete bundle under a valid name.
        discarded = self._objects / f"{_DISCARDED}{digest}"
        shutil.rmtree(discarded, ignore_errors=True)
        (self._objects / digest).rename(discarded)
        sync_directory(self._objects)
        shutil.rmtree(discarded, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove the remains of killed runs. Call it under the lock: then nobody is still writing them."""
        for path in self._objects.iterdir():
            if path.name.startswith((UNFINISHED, _DISCARDED)):
                shutil.rmtree(path, ignore_errors=True)
        (self.root / f"{UNFINISHED}link").unlink(missing_ok=True)


def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and name != ACTIVE


def require_name(name: str) -> str:
    """Return `name` if it can name a bundle (NAME_RULE).

    Raises:
        UsageError: it cannot.
    """
    if not _is_name(name):
        raise UsageError(f"{name!r} cannot name a bundle", remedy=f"use {NAME_RULE}")
    return name


@contextlib.contextmanager
def _translated(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        where = f"{exc.filename}: " if exc.filename else ""
        raise EdgedError(
            f"model store {root}: {where}{exc.strerror or exc}",
            remedy="its bundles are as they were; free some space or mend its permissions",
        ) from exc
