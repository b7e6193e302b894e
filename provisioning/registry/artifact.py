"""What a bundle is in a registry: an OCI image manifest (1.1) with a layer for each file, named by its title."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edged.core.bundle import MANIFEST, MODEL, MODEL_INT8, MODEL_INT8_CPU
from edged.core.errors import DataError
from edged.core.manifest import MAX_MANIFEST_BYTES, Manifest

IMAGE = "application/vnd.oci.image.manifest.v1+json"
BUNDLE = "application/vnd.edged.bundle.v1"
BUNDLE_MANIFEST = "application/vnd.edged.bundle.manifest.v1+json"
BUNDLE_FILE = "application/vnd.edged.bundle.file.v1"
EMPTY = "application/vnd.oci.empty.v1+json"
TITLE = "org.opencontainers.image.title"
EMPTY_CONTENT = b"{}"
MOST_FILE_BYTES = 4 << 30
MOST_BYTES = 8 << 30
MOST_FILES = 64
_KNOWN = {MANIFEST, MODEL, MODEL_INT8, MODEL_INT8_CPU, "model.plugin.onnx", "calibration.json"}
_ENGINE = re.compile(r"engine-[a-z0-9][a-z0-9-]{0,199}\.plan")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Blob:
    """Content by its hash: `sha256:` with 64 hexadecimal digits, and its size in bytes."""

    digest: str
    size: int

    @property
    def sha256(self) -> str:
        """The digits alone."""
        return self.digest.removeprefix("sha256:")


def digest_of(content: bytes) -> str:
    """A content's digest, as registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def blob_of(content: bytes) -> Blob:
    """The blob that holds `content`."""
    return Blob(digest_of(content), len(content))


def is_known(name: str) -> bool:
    """Whether a bundle in a registry may hold a file of this name."""
    return name in _KNOWN or _ENGINE.fullmatch(name) is not None


def image(files: Mapping[str, Blob]) -> bytes:
    """The image manifest of a bundle. The same files always give the same bytes.

    Args:
        files: by name; `manifest.json` is one of them.
    """
    layers = [
        {
            **descriptor(_media_type(name), blob),
            "annotations": {TITLE: name},
        }
        for name, blob in sorted(files.items(), key=lambda item: (item[0] != MANIFEST, item[0]))
    ]
    whole = {
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "artifactType": BUNDLE,
        "config": descriptor(EMPTY, blob_of(EMPTY_CONTENT)),
        "layers": layers,
    }
    return json.dumps(whole, separators=(",", ":")).encode()


def descriptor(media_type: str, blob: Blob) -> dict[str, Any]:
    """A blob as manifests name it."""
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}


def read_image(content: bytes, *, where: str) -> dict[str, Blob]:
    """The files of a bundle, by name, from its image manifest.

    Raises:
        DataError: it is no bundle, names a file that a bundle does not hold or names one twice, or is too large.
    """
    try:
        whole = json.loads(content)
        if whole["mediaType"] != IMAGE or whole.get("artifactType") != BUNDLE:
            raise DataError(f"{where} is not a bundle but {whole.get('artifactType') or whole['mediaType']!r}")
        named = [(layer["annotations"][TITLE], read_descriptor(layer)) for layer in whole["layers"]]
        types = [layer["mediaType"] for layer in whole["layers"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise DataError(f"{where} is not a bundle: misshapen image manifest ({exc!r})") from exc
    problem = _problem(named) or _strange_type([name for name, _ in named], types)
    if problem:
        raise DataError(f"{where}: {problem}; refused")
    return dict(named)


def read_descriptor(raw: Mapping[str, Any]) -> Blob:
    """The blob that a descriptor names.

    Raises:
        ValueError, KeyError, TypeError: it is misshapen.
    """
    digest, size = raw["digest"], raw["size"]
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ValueError(f"size {size!r}")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ValueError(f"digest {digest!r}")
    return Blob(digest, size)


def _problem(named: list[tuple[Any, Blob]]) -> str:
    """What is wrong with the files; empty where nothing is."""
    names = [name for name, _ in named]
    strange = next((name for name in names if not isinstance(name, str) or not is_known(name)), None)
    if strange is not None:
        return f"{str(strange)[:100]!r} is no file of a bundle"
    if len(set(names)) != len(names):
        return "it names a file twice"
    if MANIFEST not in names or MODEL not in names:
        return f"it lacks {MANIFEST} or {MODEL}"
    if len(names) > MOST_FILES:
        return f"it has {len(names)} files, more than {MOST_FILES}"
    sizes = {name: blob.size for name, blob in named}
    large = next((name for name, size in sizes.items() if size > MOST_FILE_BYTES), "")
    if sizes[MANIFEST] > MAX_MANIFEST_BYTES or large or sum(sizes.values()) > MOST_BYTES:
        return f"{large or 'it'} is larger than a bundle may be ({sum(sizes.values())} bytes in all)"
    return ""


def _strange_type(names: list[str], types: list[Any]) -> str:
    """Which file is of another media type than it should be; empty where none is."""
    for name, found in zip(names, types, strict=True):
        expected = _media_type(name)
        if found != expected:
            return f"{name!r} is of media type {str(found)[:100]!r}, expected {expected!r}"
    return ""


def _media_type(name: str) -> str:
    return BUNDLE_MANIFEST if name == MANIFEST else BUNDLE_FILE


def require_same(manifest: Manifest, files: Mapping[str, Blob], *, where: str) -> None:
    """Check that the bundle's own manifest and the image manifest speak of the same files.

    Raises:
        DataError: they do not.
    """
    inside = {name: Blob(f"sha256:{record.sha256}", record.bytes) for name, record in manifest.files.items()}
    outside = {name: blob for name, blob in files.items() if name != MANIFEST}
    different = sorted(name for name in inside.keys() | outside if inside.get(name) != outside.get(name))
    engines = {engine.file for engine in manifest.engines} - outside.keys()
    if different or engines:
        raise DataError(f"{where}: its {MANIFEST} is of other files ({', '.join([*different, *sorted(engines)])})")
