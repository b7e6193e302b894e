"""Adds files to a bundle of the store, and makes the graphs that engines are built from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from edged.core.bundle import MODEL, MODEL_INT8, Bundle
from edged.core.decode import GridDecode, ListDecode
from edged.core.manifest import Manifest
from provisioning.patch import patch
from provisioning.quantize.refusal import require_quantisable
from provisioning.quantize.typed import with_fp16
from provisioning.quantize.typed_list import with_fp16_inside
from provisioning.store import Store

PLUGIN_MODEL = "model.plugin.onnx"  # a file of a bundle
OUTPUTS_MODEL = "heads.onnx"  # beside an engine while it is built; kept outputs of recipes hold it by this name


def revise(store: Store, bundle: Bundle, files: Mapping[str, bytes | Path], **changes: Any) -> Bundle:  # noqa: ANN401
    """Add files to a bundle and change fields of its manifest. The active bundle stays active until `activate`.

    Args:
        store: that holds the bundle.
        bundle: opened from there.
        files: to add or replace, by name.
        changes: fields of the manifest. The files of engines that are no longer in it are removed.

    Returns:
        The new bundle, of the same name.

    Raises:
        DataError: a file of the bundle is damaged.
        EdgedError: the store is not writable or in use, or the disk is full.
    """
    manifest = dataclasses.replace(bundle.manifest, **changes)
    gone = {engine.file for engine in bundle.manifest.engines} - {engine.file for engine in manifest.engines}
    kept = {name: bundle.read(name) for name in bundle.manifest.files.keys() - files.keys() - gone}
    return store.add(manifest, {**kept, **files})


@dataclass(frozen=True, slots=True)
class EngineModels:
    """The graphs that an engine can be built from.

    Attributes:
        manifest: of the model; its `min_confidence` is the threshold of the decode node.
        graphs: by file name. `OUTPUTS_MODEL` ends in the model's own outputs, which a kernel behind the engine reads.
            `PLUGIN_MODEL`, of grid models only, has the decode node appended: its engine decodes in the plugin.
    """

    manifest: Manifest
    graphs: Mapping[str, onnx.ModelProto]

    def bundled(self) -> dict[str, bytes]:
        """The graphs that a bundle keeps, by file name."""
        return {name: graph.SerializeToString() for name, graph in self.graphs.items() if name != OUTPUTS_MODEL}


def engine_models(manifest: Manifest, model: onnx.ModelProto, *, typed: bool, threshold: float) -> EngineModels:
    """Make the graphs that an engine is built from.

    Args:
        manifest: of the model.
        model: float32, with or without Q/DQ.
        typed: compute in FP16 as a strongly typed network.
        threshold: 0..1 (1 excluded); the decode node reports no lower score.

    Raises:
        DataError: the model cannot be converted to FP16, or does not belong to the manifest.
    """
    match manifest.decode:
        case GridDecode() as decode:
            heads, classes = with_fp16(model) if typed else model, len(manifest.classes)
            patched = patch(heads, decode=decode, num_classes=classes, prenms_score_threshold=threshold)
            graphs = {OUTPUTS_MODEL: heads, PLUGIN_MODEL: patched}
        case ListDecode():
            graphs = {OUTPUTS_MODEL: with_fp16_inside(model) if typed else model}
    return EngineModels(dataclasses.replace(manifest, min_confidence=threshold), graphs)


def model_for(bundle: Bundle, precision: str) -> onnx.ModelProto:
    """Read the graph for a precision: with Q/DQ for int8, float32 otherwise.

    Raises:
        BundleMismatch: int8 is wanted, but the bundle is not quantised, or cannot be.
        DataError: the file is damaged.
    """
    if precision == "int8":
        require_quantisable(bundle.manifest)
    return onnx.load_from_string(bundle.read(MODEL_INT8 if precision == "int8" else MODEL))
