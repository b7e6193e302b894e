"""Where the weights of a recipe come from: a file, a download, or a training."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edged.core.errors import DataError, UsageError
from provisioning.fetch import LICENCE_NOTE, fetch, official, resolve
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
        path: of the file; it may be missing in a dry run.
        sha256: of its content, or in a dry run what stands for it.
        licence: as configured or known from its origin; empty where the file itself has to say.
    """

    path: Path
    sha256: str
    licence: str


def obtain(settings: ProvisionSettings, workshop: Workshop) -> Weights:
    """The weights that `[provision]` asks for; fetched or trained unless they are there.

    Raises:
        UsageError: neither a file nor a name nor an address, or no digest is known for a download.
        DataError: a file that cannot be read, or a download that is not what it should be.
        Unreachable: the download failed.
    """
    if settings.dataset:
        return _trained(settings, workshop)
    path = Path(settings.weights).expanduser()
    if path.suffix in _SUFFIXES and "://" not in settings.weights:
        return Weights(path, _sha256(path), settings.licence)
    return _fetched(settings, workshop)


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as exc:
        raise DataError(f"weights {path} cannot be read: {exc.strerror}", remedy="correct [provision] weights") from exc


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
    if official(settings.weights) is not None and not was_there:
        workshop.say(f"{'licence':<9} {LICENCE_NOTE}")
    return Weights(fetched.path, fetched.sha256, source.licence)


def _trained(settings: ProvisionSettings, workshop: Workshop) -> Weights:
    """A training is kept outside the outputs until it is done, so that an interrupted one goes on where it was."""
    spec = Path(settings.dataset).expanduser()
    if settings.input_wh[0] != settings.input_wh[1]:
        raise UsageError(f"training needs a square size, got {settings.size}", remedy="train first, then import")
    inputs = {"dataset": of_dataset(spec), "size": settings.size}
    arguments = list(settings.train_arguments)

    def work(folder: Path) -> None:
        run = workshop.root / TRAININGS / folder.name.rpartition("-")[2]
        parsed = _parsed(
            arguments,
            data=spec,
            size=settings.input_wh[0],
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
    """The options of a training: the user's over those that the recipe gives."""
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
