"""Gets the weights of a recipe: from a file, a download, or a training."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edged.core.errors import DataError, UsageError
from provisioning.cut.heads import DEFAULT_WH
from provisioning.cut.outside import sha256_with_outside
from provisioning.fetching.fetch import fetch, resolve
from provisioning.files import file_sha256
from provisioning.recipe.fingerprints import of_dataset
from provisioning.recipe.settings import ProvisionSettings
from provisioning.recipe.workshop import Workshop
from provisioning.training.options import add_train_options, train_settings

DOWNLOADS = "downloads"
TRAININGS = "trainings"
_SUFFIXES = {".pt", ".onnx"}


@dataclass(frozen=True, slots=True)
class Weights:
    """A weights file.

    Attributes:
        path: of the file; it may not exist in a dry run.
        sha256: of its content; in a dry run without the file, a text that stands for it.
        licence: as configured, or as known for weights with a name; empty if the file itself may say it.
    """

    path: Path
    sha256: str
    licence: str


def obtain(settings: ProvisionSettings, workshop: Workshop) -> Weights:
    """Get the weights that `[provision]` asks for; downloads or trains them unless that was done before.

    Raises:
        UsageError: `weights` is neither a file nor a known name nor an address, no digest is known for a download,
            or the options of the training are wrong.
        DataError: a file cannot be read, or a download has another digest.
        Unreachable: the download failed.
    """
    if settings.dataset:
        return _trained(settings, workshop)
    path = Path(settings.weights).expanduser()
    if path.suffix in _SUFFIXES and "://" not in settings.weights:
        return Weights(path, _sha256_of_all(path), settings.licence)
    return _fetched(settings, workshop)


def _sha256_of_all(path: Path) -> str:
    """Of an ONNX file, its weights in other files count, too."""
    if path.suffix != ".onnx":
        return _sha256(path)
    try:
        return sha256_with_outside(path.read_bytes(), path.parent)
    except OSError as exc:
        raise _unreadable(path, exc) from exc


def _unreadable(path: Path, exc: OSError) -> DataError:
    return DataError(f"weights {path} cannot be read: {exc.strerror}", remedy="correct [provision] weights")


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as exc:
        raise _unreadable(path, exc) from exc


def _fetched(settings: ProvisionSettings, workshop: Workshop) -> Weights:
    source = resolve(settings.weights, sha256=settings.sha256, licence=settings.licence)
    folder = workshop.root / DOWNLOADS
    target = folder / source.file_name
    if workshop.dry_run:
        known = _sha256(target) if target.exists() else source.sha256 or source.url
        workshop.say(f"{'weights':<9} {'up to date' if target.exists() else 'would be fetched'} ({source.file_name})")
        return Weights(target, known, source.licence)
    was_there = target.exists()
    fetched = fetch(source, folder, trust_first=settings.trust_first)
    workshop.say(f"{'weights':<9} {'up to date' if was_there else 'fetched'} ({fetched.path.name})")
    if source.note and not was_there:
        workshop.say(f"{'licence':<9} {source.note}")
    return Weights(fetched.path, fetched.sha256, source.licence)


def _trained(settings: ProvisionSettings, workshop: Workshop) -> Weights:
    """Train. The run's folder is outside the outputs until it is done, so an interrupted training can be resumed."""
    spec = Path(settings.dataset).expanduser()
    width, height = settings.input_wh or DEFAULT_WH
    if width != height:
        raise UsageError(f"training needs a square size, got {settings.size}", remedy="train first, then import")
    inputs = {"dataset": of_dataset(spec), "size": settings.size}
    arguments = list(settings.train_arguments)

    def work(folder: Path) -> None:
        run = workshop.root / TRAININGS / folder.name.rpartition("-")[2]
        parsed = _parsed(
            arguments,
            data=spec,
            size=width,
            runs=run.parent,
            name=run.name,
            resume=(run / "last.pt").exists(),
        )
        _train(parsed, workshop.say)
        shutil.copyfile(run / "best.pt", folder / "best.pt")
        shutil.rmtree(run)

    output = workshop.make("train", {**inputs, "arguments": arguments}, work)
    path = output.folder / "best.pt"
    return Weights(path, _sha256(path) if path.exists() else output.key, settings.licence)


def _parsed(arguments: list[str], **given: object) -> argparse.Namespace:
    """Parse the options of a training; `given` are defaults that the user's arguments override."""
    parser = argparse.ArgumentParser(prog="[provision] train_arguments", exit_on_error=False)
    add_train_options(parser)
    parser.set_defaults(**given)
    try:
        return parser.parse_args(arguments)
    except (argparse.ArgumentError, SystemExit) as exc:
        raise UsageError(f"[provision] train_arguments {arguments}: {exc}") from exc


def _train(options: argparse.Namespace, say: Callable[[str], None]) -> None:
    """Train in this process, as `edged-provision train` does."""
    from provisioning.training.launch import launch  # noqa: PLC0415 - torch is loaded for trainings only

    for line in launch(train_settings(options)):
        say(line)
