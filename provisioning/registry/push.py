"""Pushes the portable part of a bundle to a registry, and its signature."""

from __future__ import annotations

import dataclasses

from cryptography.hazmat.primitives.asymmetric import ec

from edged.core.bundle import MANIFEST, Bundle
from edged.core.manifest import Manifest
from edged.gpu.tensorrt import RTX
from provisioning.registry.artifact import EMPTY_CONTENT, Blob, blob_of, digest_of, image, is_known
from provisioning.registry.connection import Connection
from provisioning.registry.contents import put_manifest, upload
from provisioning.registry.signed import add_signature


def portable(bundle: Bundle) -> Manifest:
    """The manifest of what runs on other devices, too: without engines of TensorRT itself, their caches and reports.

    A report's pictures are left out with it: they may show what cameras saw. What it says of a graph stays.
    """
    before = bundle.manifest
    engines = tuple(engine for engine in before.engines if engine.kind == RTX)
    device = {engine.file for engine in before.engines} - {engine.file for engine in engines}
    files = {name: record for name, record in before.files.items() if is_known(name) and name not in device}
    report = before.report if before.report.get("file") or engines == before.engines else {}
    return dataclasses.replace(before, files=files, engines=engines, report=report)


def push(bundle: Bundle, connection: Connection, key: ec.EllipticCurvePrivateKey | None) -> str:
    """Push a bundle and, with a key, its signature. Returns the digest of its manifest.

    The tag is set last, when everything that it names is there.

    Args:
        bundle: every file is checked before it is sent.
        connection: to the repository, with a tag.
        key: None leaves it unsigned.

    Raises:
        DataError: a file of the bundle is damaged.
        ConfigError, Unreachable, EdgedError: the registry refuses it or broke off; the tag is as it was.
    """
    manifest = portable(bundle)
    text = manifest.to_json().encode()
    files = {MANIFEST: blob_of(text)}
    for name, record in manifest.files.items():
        bundle.read(name)
        files[name] = Blob(f"sha256:{record.sha256}", record.bytes)
    for name, blob in files.items():
        upload(connection, blob, text if name == MANIFEST else bundle.directory / name)
    upload(connection, blob_of(EMPTY_CONTENT), EMPTY_CONTENT)
    content = image(files)
    digest = digest_of(content)
    if key is not None:
        add_signature(connection, key, digest)
    put_manifest(connection, connection.reference.tag, content)
    return digest
