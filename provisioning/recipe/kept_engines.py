"""Keeps engines that a user added to a bundle by hand, if they are of the same model; reports the others."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from edged.core.errors import EdgedError
from edged.core.manifest import EngineRecord, FileRecord, Manifest
from provisioning.build.bundle_engine import is_of, readable, remaining
from provisioning.files import file_sha256
from provisioning.recipe.workshop import Workshop, read_kept
from provisioning.store import Store

ENGINE_RECORD = "engine.json"


def records_of(files: Mapping[str, bytes | Path]) -> dict[str, FileRecord]:
    """Digest and size of the files that are on disk, as a manifest will record them.

    Raises:
        OSError: one cannot be read.
    """
    paths = {name: path for name, path in files.items() if isinstance(path, Path)}
    return {name: FileRecord(file_sha256(path), path.stat().st_size) for name, path in paths.items()}


def with_kept_engines(
    store: Store, manifest: Manifest, files: Mapping[str, bytes | Path], shop: Workshop
) -> tuple[Manifest, dict[str, bytes | Path]]:
    """Add to a new bundle the engines of the store's bundle of the same name that still fit it.

    Args:
        store: may hold an earlier bundle of that name.
        manifest: of the new bundle.
        files: of the new bundle, by name.
        shop: engines that it made itself are left out: their inputs have changed.

    Returns:
        Manifest and files of the bundle to store.
    """
    try:
        before = store.open(manifest.name)
    except EdgedError:
        return manifest, dict(files)
    made_here = set(_made_by(shop))
    by_hand = [engine for engine in before.manifest.engines if engine not in (*made_here, *manifest.engines)]
    left = by_hand
    for new in manifest.engines:
        left = list(remaining(left, new))
    records = records_of(files) if left else {}
    kept = [each for each in readable(before, left) if is_of(each, before.manifest, records, manifest)]
    for engine in by_hand:
        fate = "kept" if engine in kept else "left out: it is of another model, or damaged"
        fate = fate if engine in left else "replaced: the new one serves its devices"
        shop.say(f"{'engine':<9} {engine.file}, added by hand, is {fate}")
    whole = {**files, **{engine.file: before.directory / engine.file for engine in kept}}
    return dataclasses.replace(manifest, engines=(*manifest.engines, *kept)), whole


def _made_by(shop: Workshop) -> list[EngineRecord]:
    found = shop.root.glob(f"engine-*/{ENGINE_RECORD}")
    return [read_kept(path, lambda text: EngineRecord.from_json(json.loads(text))) for path in found]
