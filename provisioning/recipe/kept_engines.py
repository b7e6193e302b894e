"""Engines that were added to a bundle by hand: the recipe keeps those of the same model, and tells of the others."""

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
    """What a manifest will say of these files; of those on disk."""
    paths = {name: path for name, path in files.items() if isinstance(path, Path)}
    return {name: FileRecord(file_sha256(path), path.stat().st_size) for name, path in paths.items()}


def with_kept_engines(
    store: Store, manifest: Manifest, files: Mapping[str, bytes | Path], shop: Workshop
) -> tuple[Manifest, dict[str, bytes | Path]]:
    """The bundle that the recipe made, with those engines of the store's bundle of that name that still belong to it.

    Args:
        store: that holds the bundle as it is.
        manifest: as the recipe made it.
        files: by name.
        shop: whose own engines are left out: what made them has changed.
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
