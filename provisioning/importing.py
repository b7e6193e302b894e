"""Turns a user's weights into a bundle: reads them, exports them to ONNX, and makes the manifest."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edged import __version__
from edged.core.bundle import MODEL, Bundle
from edged.core.decode import GridDecode
from edged.core.errors import DataError, UsageError
from edged.core.manifest import Manifest
from edged.core.text import read_text
from provisioning.cut.family import refuse_other_tasks
from provisioning.cut.graph import image_input, parsed_onnx
from provisioning.cut.heads import DEFAULT_WH, cut_at_heads, network_size
from provisioning.cut.outside import sha256_with_outside
from provisioning.data.spec import read_yaml_names
from provisioning.export import export_onnx
from provisioning.families.dense import import_dense
from provisioning.families.listed import SIZES, import_listed, listed_graph
from provisioning.families.recognise import dense_graph
from provisioning.families.recognised import (
    COCO_91_NAMES,
    COCO_NAMES,
    NO_HINTS,
    Hints,
    Recognised,
    coco_91_names,
    coco_names,
)
from provisioning.fetching.fetch import origin
from provisioning.fetching.known import licence_of
from provisioning.files import file_sha256
from provisioning.graphs.dequantised import dequantised, quantised_kinds
from provisioning.graphs.plain import in_float32
from provisioning.model.checkpoint import read_checkpoint
from provisioning.names import ordered_names
from provisioning.store import Store, require_name

_MAX_NAMES_BYTES = 1 << 20
_ZIP = b"PK\x03\x04"  # the first bytes of a torch checkpoint
_ONNX_FIRST, _ONNX_VERSIONS = b"\x08", b"\x40"  # ONNX begins with its IR version: field 1, a small number
UNKNOWN_LICENCE = "unknown"
_DEQUANTISED = "the file was quantised; this is the float graph of its rounded weights"
RELEASE_NAMES = {"5": "5.0", "6": "6.0 to 7.0"}


@dataclass(frozen=True, slots=True)
class Exported:
    """A model ready to be bundled.

    Attributes:
        manifest: complete except for `files`.
        onnx: the content of `model.onnx`.
    """

    manifest: Manifest
    onnx: bytes

    def add_to(self, store: Store) -> Bundle:
        """Write it into a store, as a bundle with the manifest's name.

        Raises:
            UsageError: a file of that name is in the way.
            EdgedError: the disk is full, or the store is not writable or locked.
        """
        return store.add(self.manifest, {MODEL: self.onnx})


def export_checkpoint(path: Path, *, name: str, input_wh: tuple[int, int], licence: str = "") -> Exported:
    """Read a checkpoint of YOLOv5 or of our trainer and export it.

    Args:
        path: the `.pt` file.
        name: of the bundle.
        input_wh: network input (width, height), pixels, multiples of 32.
        licence: of the weights; if empty, what the file or the record of its download says, else `unknown`.

    Raises:
        UsageError: the name or the size is not allowed.
        DataError: the file is not a usable checkpoint.
    """
    require_name(name)
    checkpoint = read_checkpoint(path)
    digest = file_sha256(path)
    description = checkpoint.description
    content = export_onnx(description, checkpoint.state, input_wh=input_wh, names=checkpoint.names)
    manifest = Manifest(
        name=name,
        architecture=f"yolov5{description.size}",
        classes=checkpoint.names,
        decode=GridDecode(description.anchors, description.strides),
        input_wh=input_wh,
        licence=licence or _licence(path, digest, checkpoint.licence),
        files={},
        provenance=_provenance(
            path,
            digest,
            origin=checkpoint.origin,
            release=RELEASE_NAMES[description.release],
            trained=checkpoint.date,
        ),
    )
    return Exported(manifest, content)


def export_graph(
    path: Path,
    *,
    name: str,
    input_wh: tuple[int, int] | None = None,
    licence: str = "",
    names: Sequence[str] = (),
    anchors: Sequence[float] = (),
    hints: Hints = NO_HINTS,
) -> Exported:
    """Recognise a user's ONNX export, and rewrite it for the daemon.

    Args:
        path: the `.onnx` file.
        name: of the bundle.
        input_wh: network input (width, height), pixels; None for the file's own.
        licence: of the weights; if empty, what the file, the record of its download or its family says, else `unknown`.
        names: class names, by class id, if the file does not have them.
        anchors: w, h, w, h, ... in pixels, smallest stride first, if a YOLOv5 has no decode to recover them from.
        hints: what else a file cannot tell.

    Raises:
        UsageError: the name is not allowed, or something is needed that neither the file nor the arguments say.
        DataError: the file is not a usable detector.
        EdgedError: the rewritten model computes something else than the export.
    """
    require_name(name)
    content = _read(path)
    try:
        given = parsed_onnx(content, folder=path.parent)
        refuse_other_tasks(given)
        rounded = bool(quantised_kinds(given))
        model = in_float32(dequantised(given))
        picture = image_input(model, besides={SIZES})
        size = network_size(picture, input_wh)
        if listed := listed_graph(model):
            made = import_listed(listed, picture, input_wh=size, names=names, hints=hints)
        elif dense := dense_graph(model, picture, input_wh=size, rounded=rounded):
            made = import_dense(dense, picture, input_wh=size, names=names, hints=hints)
        else:
            made = _cut(given.SerializeToString(), input_wh=input_wh, names=names, anchors=anchors)
    except DataError as exc:
        raise DataError(f"{path}: {exc}") from exc
    except UsageError as exc:
        raise UsageError(f"{path}: {exc}") from exc
    digest = sha256_with_outside(content, path.parent)
    manifest = Manifest(
        name=name,
        architecture=made.architecture,
        classes=made.names,
        decode=made.decode,
        input_wh=made.input_wh,
        licence=licence or _licence(path, digest, made.licence),
        files={},
        provenance=_provenance(path, digest, origin="onnx", quantised=_DEQUANTISED if rounded else "", **made.facts),
    )
    return Exported(manifest, made.onnx)


def export_model(
    path: Path,
    *,
    name: str,
    input_wh: tuple[int, int] | None = None,
    licence: str = "",
    names: Sequence[str] = (),
    anchors: Sequence[float] = (),
    hints: Hints = NO_HINTS,
) -> Exported:
    """Export an ONNX file with `export_graph`, any other file with `export_checkpoint` (default size 640x640).

    Raises:
        UsageError: names or anchors were given for a checkpoint, which has its own; or as those two functions.
        DataError, EdgedError: as those two functions.
    """
    if _is_onnx(path):
        return export_graph(
            path, name=name, input_wh=input_wh, licence=licence, names=names, anchors=anchors, hints=hints
        )
    if names or anchors:
        raise UsageError(
            f"{path}: a checkpoint has its own class names and anchors; --names and --anchors are for ONNX"
        )
    return export_checkpoint(path, name=name, input_wh=input_wh or DEFAULT_WH, licence=licence)


def read_names(path: Path) -> tuple[str, ...]:
    """Class names, by class id, from a text file with one a line or from the YAML of a data set; `coco` for its 80,
    `coco91` for its categories by their own numbers.

    Blank lines at the end are ignored.

    Raises:
        DataError: the file cannot be read, is not text or YAML, has no names, or a line is empty or no valid name.
    """
    built_in = {COCO_NAMES: coco_names, COCO_91_NAMES: coco_91_names}.get(str(path))
    if built_in is not None and not path.exists():
        return built_in()
    if path.suffix.lower() in {".yaml", ".yml"}:
        return read_yaml_names(path)
    try:
        text = read_text(path, limit=_MAX_NAMES_BYTES, error=DataError)
    except OSError as exc:
        raise DataError(f"{path} cannot be read: {exc.strerror}") from exc
    lines = [line.strip() for line in text.rstrip().splitlines()]
    if not lines or not all(lines):
        raise DataError(f"{path}: expected one class name a line, line {lines.index('') + 1 if lines else 1} is empty")
    try:
        return ordered_names(lines)
    except ValueError as exc:
        raise DataError(f"{path}: {exc}") from exc


def _cut(
    content: bytes, *, input_wh: tuple[int, int] | None, names: Sequence[str], anchors: Sequence[float]
) -> Recognised:
    cut = cut_at_heads(content, input_wh=input_wh, names=names, anchors=anchors)
    return Recognised(cut.onnx, cut.names, GridDecode(cut.anchors, cut.strides), cut.input_wh, "yolov5")


def _is_onnx(path: Path) -> bool:
    """Whether the file is ONNX: by its first bytes, as people rename files, or else by its suffix."""
    head = b""
    if path.is_file():
        with contextlib.suppress(OSError), path.open("rb") as file:
            head = file.read(len(_ZIP))
    if head == _ZIP:
        return False
    return path.suffix.lower() == ".onnx" or (head[:1] == _ONNX_FIRST and head[1:2] < _ONNX_VERSIONS)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise DataError(f"{path} cannot be read: {exc.strerror}", remedy="name a .pt or .onnx file") from exc


def _provenance(path: Path, digest: str, **facts: str) -> dict[str, str]:
    """Where the weights came from. Nothing in it changes between runs, so the same input gives the same bundle."""
    facts = {"weights": path.name, "weights_sha256": digest, "tool": f"edged-provision {__version__}", **facts}
    return {key: value for key, value in facts.items() if value}


def _licence(path: Path, digest: str, stated: str) -> str:
    """The licence of weights: by their hash if `fetch` knows it, else as `stated` or recorded, else `unknown`."""
    if known := licence_of(digest):
        return known
    record: Mapping[str, object] = origin(path)
    fetched = record.get("licence") if record.get("sha256") == digest else None
    return stated or (fetched if isinstance(fetched, str) else "") or UNKNOWN_LICENCE
