"""Keeps the outputs of stages in a folder. Each is named by the hash of its inputs: if it exists, it is up to date.

An output is made under a temporary name and renamed when it is complete: a kill leaves nothing that looks finished.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edged.core.errors import DataError, EdgedError
from edged.store.files import sync_directory
from edged.store.lock import FileLock

logger = logging.getLogger(__name__)

INPUTS = "inputs.json"
KEPT_PER_STAGE = 3
_OUTPUT = re.compile(r"([a-z]+)-[0-9a-f]{16}")
_UNFINISHED = ".unfinished-"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Output:
    """The output of a stage. In a dry run it may not exist.

    Attributes:
        stage: name of the stage.
        key: hash of its inputs; later stages use it as one of their inputs.
        folder: holds its files.
        fresh: whether this run made it; in a dry run, whether it would have to be made.
    """

    stage: str
    key: str
    folder: Path
    fresh: bool


class Workshop:
    """Makes outputs, or finds that they are up to date, in one run over the stages.

    Args:
        root: folder of the outputs; may be deleted between runs.
        force: make every output again.
        dry_run: make nothing, only say what would be made.
        say: called with one line for each stage.
    """

    def __init__(self, root: Path, *, force: bool, dry_run: bool, say: Callable[[str], None]) -> None:
        self.root = root
        self.dry_run = dry_run
        self.outputs: list[Output] = []
        self._force = force
        self.say = say

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold a lock that excludes other runs. A dry run takes none.

        Raises:
            EdgedError: another run is under way (the message says which), or the folder cannot be made or written.
        """
        if self.dry_run:
            yield
            return
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with FileLock(self.root / ".lock"):
                self._sweep()
                yield
        except OSError as exc:
            raise EdgedError(
                f"{exc.filename or self.root}: {exc.strerror or exc}",
                remedy="free space or mend permissions and run again; the active bundle is untouched",
            ) from exc

    def make(self, stage: str, inputs: Mapping[str, object], work: Callable[[Path], None]) -> Output:
        """The output of `stage` for `inputs`. Unless it exists, `work` makes it.

        Args:
            stage: lower-case letters.
            inputs: everything the output depends on, as JSON values; other outputs by their key.
            work: called with an empty folder; writes the output into it.

        Raises:
            Exception: whatever `work` raises; the output does not exist then.
        """
        text = json.dumps({"stage": stage, "inputs": inputs}, sort_keys=True, indent=1)
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        folder = self.root / f"{stage}-{key}"
        fresh = self._force or not folder.is_dir()
        if not fresh:
            self.say(f"{stage:<9} up to date ({key})")
            if not self.dry_run:
                os.utime(folder)  # marks it as used: `prune` keeps the newest of each stage
        elif self.dry_run:
            self.say(f"{stage:<9} would run ({key})")
        else:
            self.say(f"{stage:<9} running ({key})")
            self._make(folder, text, work)
        output = Output(stage, key, folder, fresh)
        self.outputs.append(output)
        return output

    def prune(self) -> None:
        """Remove old outputs: this run's stay, and up to KEPT_PER_STAGE - 1 others of each stage, the newest."""
        kept = {output.folder.name for output in self.outputs}
        by_stage: dict[str, list[Path]] = {}
        for folder in self.root.iterdir():
            match = _OUTPUT.fullmatch(folder.name)
            if match and folder.name not in kept:
                by_stage.setdefault(match[1], []).append(folder)
        for folders in by_stage.values():
            newest_first = sorted(folders, key=lambda folder: -folder.stat().st_mtime)
            for folder in newest_first[KEPT_PER_STAGE - 1 :]:
                shutil.rmtree(folder, ignore_errors=True)

    def _make(self, folder: Path, inputs: str, work: Callable[[Path], None]) -> None:
        unfinished = self.root / f"{_UNFINISHED}{folder.name}"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        try:
            work(unfinished)
            (unfinished / INPUTS).write_text(inputs + "\n", "utf-8")
            _sync(unfinished)
            if folder.exists():
                folder.rename(self.root / f"{_UNFINISHED}old-{folder.name}")
            unfinished.rename(folder)
            sync_directory(self.root)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
            shutil.rmtree(self.root / f"{_UNFINISHED}old-{folder.name}", ignore_errors=True)

    def _sweep(self) -> None:
        for left in self.root.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(left, ignore_errors=True)


def read_kept(path: Path, parse: Callable[[str], _T]) -> _T:
    """Read a file of an output with `parse`, which takes its text.

    Raises:
        DataError: the file is missing or damaged; the remedy says what to remove.
    """
    try:
        return parse(path.read_text("utf-8"))
    except (OSError, ValueError, KeyError, TypeError, DataError) as exc:
        raise DataError(f"{path} is damaged: {exc}", remedy=f"remove {path.parent}, it is made again") from exc


def _sync(folder: Path) -> None:
    """Sync every file of a folder to the disk, before its final name says that it is complete."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    sync_directory(folder)
