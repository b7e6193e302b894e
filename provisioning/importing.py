"""Turns a user's weights into a bundle of the store: read, exported, described, added."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edged import __version__
from edged.core.bundle import MODEL, Bundle
from edged.core.decode import GridDecode
from edged.core.errors import DataError, UsageError
from edged.core.manifest import Manifest
from edged.core.text import read_text
from provisioning.cut.heads import DEFAULT_WH, cut_at_heads
from provisioning.data.spec import read_yaml_names
from provisioning.export import export_onnx
from provisioning.fetch import AGPL, PINNED, origin
from provisioning.files import file_sha256
from provisioning.model.checkpoint import read_checkpoint
from provisioning.names import ordered_names
from provisioning.store import Store, require_name

_MAX_NAMES_BYTES = 1 << 20
_ZIP = b"PK\x03\x04"  # a checkpoint of torch
_ONNX_FIRST, _ONNX_VERSIONS = b"\x08", b"\x40"  # its first field is the version of its form, a small number
UNKNOWN_LICENCE = "unknown"
RELEASE_NAMES = {"5": "5.0", "6": "6.0 to 7.0"}


@dataclass(frozen=True, slots=True)
class Exported:
    """A model ready to be bundled.

    Attributes:
        manifest: complete but for its files.
        onnx: the content of `model.onnx`.
    """

    manifest: Manifest
    onnx: bytes

    def add_to(self, store: Store) -> Bundle:
        """Write it into a store; raises as `Store.add` does."""
        return store.add(self.manifest, {MODEL: self.onnx})


def export_checkpoint(path: Path, *, name: str, input_wh: tuple[int, int], licence: str = "") -> Exported:
    """Read a checkpoint of YOLOv5 or of our trainer and export it.

    Args:
        path: the `.pt` file.
        name: of the bundle.
        input_wh: network input (width, height), pixels.
        licence: of the weights; empty takes what the file or its record says, else `unknown`.

    Raises:
        UsageError: a name or size that cannot be.
        DataError: not a usable checkpoint.
    """
    require_name(name)
    checkpoint = read_checkpoint(path)
    digest = file_sha256(path)
    content = export_onnx(checkpoint.network(), input_wh=input_wh, names=checkpoint.names)
    manifest = Manifest(
        name=name,
        architecture=f"yolov5{checkpoint.size}",
        classes=checkpoint.names,
        decode=GridDecode(checkpoint.anchors, checkpoint.strides),
        input_wh=input_wh,
        licence=licence or _licence(path, digest, checkpoint.licence),
        files={},
        provenance=_provenance(
            path,
            digest,
            origin=checkpoint.origin,
            release=RELEASE_NAMES[checkpoint.release],
            trained=checkpoint.date,
        ),
    )
    return Exported(manifest, content)


def export_cut(
    path: Path,
    *,
    name: str,
    input_wh: tuple[int, int] | None = None,
    licence: str = "",
    names: Sequence[str] = (),
    anchors: Sequence[float] = (),
) -> Exported:
    """Cut a user's ONNX export at its heads.

    Args:
        path: the `.onnx` file.
        name: of the bundle.
        input_wh: network input; None takes the file's own.
        licence: of the weights, else `unknown`.
        names: of the classes, where the file does not say.
        anchors: w, h, w, h, ... in pixels, where the file has no decode to learn them from.

    Raises:
        UsageError: a name that cannot be, or something that the file does not say was not given.
        DataError: not a usable export of YOLOv5.
    """
    require_name(name)
    content = _read(path)
    try:
        cut = cut_at_heads(content, input_wh=input_wh, names=names, anchors=anchors)
    except DataError as exc:
        raise DataError(f"{path}: {exc}") from exc
    except UsageError as exc:
        raise UsageError(f"{path}: {exc}") from exc
    digest = hashlib.sha256(content).hexdigest()
    manifest = Manifest(
        name=name,
        architecture="yolov5",
        classes=cut.names,
        decode=GridDecode(cut.anchors, cut.strides),
        input_wh=cut.input_wh,
        licence=licence or _licence(path, digest, ""),
        files={},
        provenance=_provenance(path, digest, origin="onnx"),
    )
    return Exported(manifest, cut.onnx)


def export_model(
    path: Path,
    *,
    name: str,
    input_wh: tuple[int, int] | None = None,
    licence: str = "",
    names: Sequence[str] = (),
    anchors: Sequence[float] = (),
) -> Exported:
    """`export_cut` for an ONNX file, `export_checkpoint` for any other, at 640x640 unless said otherwise.

    Raises:
        UsageError: names or anchors for a checkpoint, which has its own; else as those two.
        DataError: as those two.
    """
    if _is_onnx(path):
        return export_cut(path, name=name, input_wh=input_wh, licence=licence, names=names, anchors=anchors)
    if names or anchors:
        raise UsageError(
            f"{path}: a checkpoint has its own class names and anchors; --names and --anchors are for ONNX"
        )
    return export_checkpoint(path, name=name, input_wh=input_wh or DEFAULT_WH, licence=licence)


def read_names(path: Path) -> tuple[str, ...]:
    """Class names from a text file, one a line, by class id, or from the YAML of a data set.

    Blank lines at the end do not count.

    Raises:
        DataError: unreadable, no text, not YAML, empty, an empty line between, or a line that is no name.
    """
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


def _is_onnx(path: Path) -> bool:
    """By its first bytes, for people rename files; by its name where these say nothing."""
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
    """Where the weights came from; nothing that changes from run to run: the same input gives the same bundle."""
    facts = {"weights": path.name, "weights_sha256": digest, "tool": f"edged-provision {__version__}", **facts}
    return {key: value for key, value in facts.items() if value}


def _licence(path: Path, digest: str, stated: str) -> str:
    """The licence of weights: official ones are known by their hash, others by what came with them."""
    if digest in PINNED.values():
        return AGPL
    record: Mapping[str, object] = origin(path)
    fetched = record.get("licence") if record.get("sha256") == digest else None
    return stated or (fetched if isinstance(fetched, str) else "") or UNKNOWN_LICENCE
