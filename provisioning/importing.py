"""Turns a user's weights into a bundle of the store: read, exported, described, added."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edged import __version__
from edged.core.bundle import MODEL, Bundle
from edged.core.errors import DataError
from edged.core.manifest import Manifest
from provisioning.export import export_onnx
from provisioning.fetch import AGPL, PINNED, origin
from provisioning.model.checkpoint import file_sha256, read_checkpoint
from provisioning.store import Store, require_name

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
    provenance = {
        "weights": path.name,
        "weights_sha256": digest,
        "origin": checkpoint.origin,
        "release": RELEASE_NAMES[checkpoint.release],
        "trained": checkpoint.date,
        "tool": f"edged-provision {__version__}",
    }
    manifest = Manifest(
        name=name,
        architecture=f"yolov5{checkpoint.size}",
        classes=checkpoint.names,
        anchors=checkpoint.anchors,
        strides=checkpoint.strides,
        input_wh=input_wh,
        licence=licence or _licence(path, digest, checkpoint.licence),
        files={},
        provenance={key: value for key, value in provenance.items() if value},
    )
    return Exported(manifest, content)


def read_names(path: Path) -> tuple[str, ...]:
    """Class names from a text file, one a line, by class id; blank lines at the end do not count.

    Raises:
        DataError: unreadable, not UTF-8, empty, or an empty line between.
    """
    try:
        lines = [line.strip() for line in path.read_text("utf-8").rstrip().splitlines()]
    except OSError as exc:
        raise DataError(f"{path} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise DataError(f"{path}: not UTF-8 at byte {exc.start}") from exc
    if not lines or not all(lines):
        raise DataError(f"{path}: expected one class name a line, line {lines.index('') + 1 if lines else 1} is empty")
    return tuple(lines)


def _licence(path: Path, digest: str, stated: str) -> str:
    """The licence of weights: official ones are known by their hash, others by what came with them."""
    if digest in PINNED.values():
        return AGPL
    record: Mapping[str, object] = origin(path)
    fetched = record.get("licence") if record.get("sha256") == digest else None
    return stated or (fetched if isinstance(fetched, str) else "") or UNKNOWN_LICENCE


def content_sha256(content: bytes) -> str:
    """SHA-256, lower-case hex."""
    return hashlib.sha256(content).hexdigest()
