"""The recipe of a box that takes its bundle from a registry, and builds only its own engine."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edged.core.bundle import MODEL_INT8
from edged.core.errors import ConfigError
from provisioning.build.maker import EngineMaker
from provisioning.recipe.chain import Chain, write_manifest
from provisioning.recipe.settings import ProvisionSettings
from provisioning.recipe.workshop import Output, Workshop
from provisioning.registry.artifact import Blob
from provisioning.registry.connection import Access, Connection
from provisioning.registry.install import Installed, alone_in, install
from provisioning.registry.pull import pull, resolve
from provisioning.registry.reference import parse_reference
from provisioning.registry.signature import public_key
from provisioning.store import Store

DOWNLOADS = "registry"


@dataclass(frozen=True, slots=True)
class Found:
    """A bundle in a registry, before anything of it is fetched."""

    connection: Connection
    digest: str
    blobs: Mapping[str, Blob]

    def suited(self, settings: ProvisionSettings) -> ProvisionSettings:
        """The settings for this bundle: an INT8 graph in it decides over `precision`."""
        return settings.model_copy(update={"precision": "int8"}) if MODEL_INT8 in self.blobs else settings


def find_bundle(settings: ProvisionSettings) -> Found:
    """What `source` means now.

    Raises:
        ConfigError: the key, the authorities or the credentials cannot be used, or the registry refuses them.
        DataError: not a bundle, or not signed by the key.
        Unreachable: the registry does not answer.
    """
    key = public_key(Path(settings.verify_key).expanduser()) if settings.verify_key else None
    access = Access(settings.plain_http, _given(settings.ca_file), _given(settings.credentials))
    connection = Connection(parse_reference(settings.source), access)
    digest, blobs = resolve(connection, key)
    return Found(connection, digest, blobs)


def with_engine(found: Found, settings: ProvisionSettings, workshop: Workshop, maker: EngineMaker) -> Output:
    """Pull what is portable, then build and verify this device's engine. The last output holds the bundle.

    Args:
        found: the bundle.
        settings: those that suit it.
        workshop: keeps the outputs of the stages.
        maker: builds the engine.

    Raises:
        ConfigError: there is nothing to verify the engine on, or no INT8 graph for `precision`.
        EdgedError: a stage failed; the outputs of the stages before it stay.
    """
    if settings.precision == "int8" and MODEL_INT8 not in found.blobs:
        raise ConfigError(f"{settings.source} has no INT8 graph", remedy='say precision = "fp16", or push one that has')
    if settings.precision == "int8" and not settings.frames:
        raise ConfigError(
            f"{settings.source} is quantised, and frames is empty: this device's engine cannot be verified",
            remedy='name some in [provision], e.g. frames = ["rtsp://camera/stream"]',
        )
    return Chain(settings, workshop, maker).run_from(_pulled(found, settings, workshop))


def without_engine(found: Found, settings: ProvisionSettings, workshop: Workshop) -> Installed | None:
    """Pull, try on ONNX Runtime and activate; None in a dry run.

    Raises:
        EdgedError: see `install`; the active bundle is what it was before.
    """
    if workshop.dry_run:
        workshop.say(f"{'pull':<9} would take {found.digest}")
        return None
    folder, store = workshop.root / DOWNLOADS, Store(Path(settings.store))
    installed = install(found.connection, found.digest, found.blobs, folder, store, name=settings.name)
    workshop.say(f"{'pull':<9} {found.digest}: {installed.fetched_bytes:,} bytes fetched")
    return installed


def _pulled(found: Found, settings: ProvisionSettings, workshop: Workshop) -> Output:
    downloads = workshop.root / DOWNLOADS

    def work(folder: Path) -> None:
        with alone_in(downloads):
            whole = pull(found.connection, found.digest, found.blobs, downloads, Path(settings.store))
            for name, place in whole.files.items():
                shutil.copyfile(place, folder / name)
        # Engines that came along are of other devices, and the report is of another machine.
        write_manifest(folder, dataclasses.replace(whole.manifest, name=settings.name, engines=(), report={}))

    return workshop.make("pull", {"digest": found.digest, "name": settings.name}, work)


def _given(path: str) -> Path | None:
    return Path(path).expanduser() if path else None
