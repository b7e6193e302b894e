"""Outputs of stages in a folder, each named by the hash of its inputs: what is there is up to date.

An output is made under another name and renamed when it is whole, so that a kill leaves nothing that looks done.
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
from provisioning.files import sync_directory
from provisioning.lock import FileLock

logger = logging.getLogger(__name__)

INPUTS = "inputs.json"
KEPT_PER_STAGE = 3
_OUTPUT = re.compile(r"([a-z]+)-[0-9a-f]{16}")
_UNFINISHED = ".unfinished-"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Output:
    """What a stage made, or would make.

    Attributes:
        stage: its name.
        key: hash of its inputs; stands for the output where it is an input itself.
        folder: holds its files; does not exist yet after a dry run.
        fresh: whether this run made it, or would have.
    """

    stage: str
    key: str
    folder: Path
    fresh: bool


class Workshop:
    """One run over the stages.

    Args:
        root: of the outputs; may be deleted at any time.
        force: make everything anew.
        dry_run: make nothing, only say what would be.
        say: gets one line a stage.
    """

    def __init__(self, root: Path, *, force: bool, dry_run: bool, say: Callable[[str], None]) -> None:
        self.root = root
        self.dry_run = dry_run
        self.outputs: list[Output] = []
        self._force = force
        self.say = say

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out; nothing is locked in a dry run.

        Raises:
            EdgedError: another run is under way (it is named), or the folder cannot be made or written.
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
        """The output of `stage` for `inputs`, made by `work` in an empty folder unless it is there already.

        Args:
            stage: lower-case letters.
            inputs: everything the output depends on, as JSON values; other outputs by their key.
            work: writes into the folder that it is given.

        Raises:
            Whatever `work` raises; the output does not exist then.
        """
        text = json.dumps({"stage": stage, "inputs": inputs}, sort_keys=True, indent=1)
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        folder = self.root / f"{stage}-{key}"
        fresh = self._force or not folder.is_dir()
        if not fresh:
            self.say(f"{stage:<9} up to date ({key})")
            if not self.dry_run:
                os.utime(folder)  # the newest few of each stage are kept
        elif self.dry_run:
            self.say(f"{stage:<9} would run ({key})")
        else:
            self.say(f"{stage:<9} running ({key})")
            self._make(folder, text, work)
        output = Output(stage, key, folder, fresh)
        self.outputs.append(output)
        return output

    def prune(self) -> None:
        """Remove all but the newest few outputs of each stage; those of this run always stay."""
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
    """What a stage left in its output.

    Raises:
        DataError: the file is missing or damaged; names what to remove.
    """
    try:
        return parse(path.read_text("utf-8"))
    except (OSError, ValueError, KeyError, TypeError, DataError) as exc:
        raise DataError(f"{path} is damaged: {exc}", remedy=f"remove {path.parent}, it is made again") from exc


def _sync(folder: Path) -> None:
    """Bring every file of a folder to the disk before its name says that it is whole."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    sync_directory(folder)
