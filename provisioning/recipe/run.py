"""`edged-provision` without a subcommand: the chain, then the store, then activation if the gate lets it pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edged.core.bundle import Bundle
from edged.core.errors import BundleMismatch, ConfigError, EdgedError, UsageError
from edged.core.manifest import Manifest
from provisioning.build import find
from provisioning.build.maker import EngineMaker, warnings_of
from provisioning.command_line import command_line
from provisioning.recipe.chain import Chain, bundle_content, kept_report
from provisioning.recipe.kept_engines import records_of, with_kept_engines
from provisioning.recipe.pulled import Found, find_bundle, with_engine, without_engine
from provisioning.recipe.settings import ProvisionSettings
from provisioning.recipe.weights import Weights, obtain
from provisioning.recipe.workshop import Output, Workshop
from provisioning.store import Store


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a run.

    Attributes:
        outputs: of every stage, in order.
        bundle: the active bundle in the store; None after a dry run.
        changed: whether anything was made or activated.
        left: what this machine could not do, and the command that does it elsewhere; empty if nothing is left.
    """

    outputs: tuple[Output, ...]
    bundle: Bundle | None
    changed: bool
    left: str


def run_recipe(settings: ProvisionSettings, *, force: bool, dry_run: bool, say: Callable[[str], None]) -> Outcome:
    """Make what is out of date, put the bundle into the store and activate it.

    Args:
        settings: the `[provision]` table.
        force: make every stage anew.
        dry_run: only say what would be made.
        say: called with one line for each stage.

    Raises:
        DataError: the model did not pass verification, or an input is damaged or missing.
        EdgedError: a stage failed, another run is under way, or the disk is full. After any error the active bundle is
            what it was before.
    """
    workshop = Workshop(Path(settings.work), force=force, dry_run=dry_run, say=say)
    with workshop.locked():
        origin = find_bundle(settings) if settings.source else obtain(settings, workshop)
        if isinstance(origin, Found):
            settings = origin.suited(settings)
        maker, reason = maker_or_reason(settings)
        if reason:
            say(f"{'engine':<9} left for the device: {reason}")
        for warning in warnings_of(maker, settings.precision) if maker else ():
            say(f"{'engine':<9} {warning}")
        if isinstance(origin, Weights):
            last = Chain(settings, workshop, maker).run(origin)
        elif maker is not None:
            last = with_engine(origin, settings, workshop, maker)
        else:
            installed = without_engine(origin, settings, workshop)
            bundle, changed = (installed.bundle, installed.changed) if installed else (None, False)
            return Outcome((), bundle, changed, _left(settings, workshop, maker, reason))
        left = _left(settings, workshop, maker, reason)
        if dry_run:
            return Outcome(tuple(workshop.outputs), None, changed=False, left=left)
        if report := kept_report(last):  # none for float32, or for an engine that is still to be built
            report.verdict.require_passed(settings.name, report=str(last.folder / "report.md"))
        bundle, stored = _stored(settings, workshop, last)
        workshop.prune()
        changed = stored or any(output.fresh for output in workshop.outputs)
        return Outcome(tuple(workshop.outputs), bundle, changed, left)


def _left(settings: ProvisionSettings, workshop: Workshop, maker: EngineMaker | None, reason: str) -> str:
    """What this machine could not do, and the command that does it on the device; empty if nothing is left."""
    frames = next((str(output.folder) for output in workshop.outputs if output.stage == "frames"), "DIR")
    if maker is None:
        by = ["--tensorrt", settings.tensorrt] if settings.tensorrt != "auto" else []
        build = command_line("build", settings.name, *by, "--frames", frames, "--activate", store=Path(settings.store))
        return f"{reason}; on the device run: {build}"
    if not maker.runs_here:
        verify = command_line("verify", settings.name, "--frames", frames, store=Path(settings.store))
        return f"the engine has not run yet, as no GPU here runs it; on one that does run: {verify}"
    return ""


def maker_or_reason(settings: ProvisionSettings) -> tuple[EngineMaker | None, str]:
    """Find what builds engines here. Unlike `build`, a recipe also runs where nothing does.

    Returns:
        The maker and an empty text, or None and the reason (one line).

    Raises:
        ConfigError: the settings ask for an engine that no TensorRT here can build.
    """
    try:
        maker = find.find_maker(
            tensorrt=settings.tensorrt,
            device=settings.device,
            decode=settings.decode,
            gpus=settings.gpus,
            work=Path(settings.work),
        )
    except (BundleMismatch, UsageError) as exc:
        if isinstance(exc, UsageError) or settings.gpus:
            raise ConfigError(f"[provision] tensorrt, gpus, decode: {exc}") from exc
        return None, str(exc)
    except EdgedError as exc:
        return None, str(exc).splitlines()[0]
    return maker, ""


def _stored(settings: ProvisionSettings, workshop: Workshop, last: Output) -> tuple[Bundle, bool]:
    """Put the bundle into the store and activate it. Returns it, and whether the store was changed."""
    made, content = bundle_content(last)
    store = Store(Path(settings.store))
    with store.locked():
        manifest, files = with_kept_engines(store, made, content, workshop)
        added = not _holds(store, manifest, files)
        if added:
            store.add(manifest, files)
        named = next(entry for entry in store.entries() if entry.name == settings.name)
        if not named.active:
            # The verdict was checked before; the user was told if an engine could not be verified.
            return store.activate(settings.name, unverified=True), True
        return store.open(settings.name), added


def _holds(store: Store, manifest: Manifest, files: Mapping[str, bytes | Path]) -> bool:
    """Whether the store has this bundle already, with the same manifest and files."""
    if manifest.name not in store.names():
        return False
    try:
        return store.open(manifest.name).manifest == dataclasses.replace(manifest, files=records_of(files))
    except EdgedError:
        return False  # a damaged one is replaced
