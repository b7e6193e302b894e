"""The signatures of a manifest in a registry: where cosign looks for them, under a tag that is the digest."""

from __future__ import annotations

import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from edged.core.errors import DataError
from provisioning.registry.artifact import IMAGE, blob_of, descriptor, read_descriptor
from provisioning.registry.connection import Connection, NotThere
from provisioning.registry.contents import MOST_PAYLOAD_BYTES, put_manifest, read_manifest, read_payload, upload
from provisioning.registry.signature import ANNOTATION, PAYLOAD, is_signed, payload, sign, signature_tag

CONFIG = "application/vnd.oci.image.config.v1+json"
MOST_SIGNATURES = 64


def require_signed(connection: Connection, key: ec.EllipticCurvePublicKey, digest: str) -> None:
    """Check that one of the signatures of the manifest of this digest is of `key`.

    Raises:
        DataError: none is, there is none, or they are misshapen.
        ConfigError, Unreachable, EdgedError: the registry refuses or does not answer.
    """
    layers = _signatures(connection, digest)
    if not layers:
        raise DataError(
            f"{connection.reference} ({digest}) is not signed; refused",
            remedy="push it with --key, or insist with unsigned = true (--unsigned)",
        )
    if not _one_is_of(connection, key, layers, digest):
        raise DataError(
            f"{connection.reference} ({digest}) has no signature of the pinned key; refused",
            remedy="push it with the key that belongs to verify_key; the active bundle is as it was",
        )


def add_signature(connection: Connection, key: ec.EllipticCurvePrivateKey, digest: str) -> None:
    """Sign the manifest of this digest, beside the signatures that it has; not again where `key` did already.

    Raises:
        DataError: the signatures that it has are misshapen, or too many.
        ConfigError, Unreachable, EdgedError: the registry refuses or does not answer.
    """
    layers = _signatures(connection, digest)
    if _one_is_of(connection, key.public_key(), layers, digest):
        return
    if len(layers) >= MOST_SIGNATURES:
        raise DataError(f"{connection.reference} ({digest}) has {len(layers)} signatures: no room for another")
    said = payload(connection.reference.repository, digest)
    layers.append({**descriptor(PAYLOAD, blob_of(said)), "annotations": {ANNOTATION: sign(key, said)}})
    contents = {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}
    config = json.dumps({"architecture": "", "os": "", "config": {}, "rootfs": contents}).encode()
    for content in (said, config):
        upload(connection, blob_of(content), content)
    whole = {
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": descriptor(CONFIG, blob_of(config)),
        "layers": layers,
    }
    put_manifest(connection, signature_tag(digest), json.dumps(whole).encode())


def _signatures(connection: Connection, digest: str) -> list[dict[str, Any]]:
    """The layers that hold a signature each; empty where there are none."""
    try:
        whole = json.loads(read_manifest(connection, signature_tag(digest)))
        layers = [layer for layer in whole["layers"] if layer["mediaType"] == PAYLOAD]
        for layer in layers:
            read_descriptor(layer)
            str(layer["annotations"][ANNOTATION])
    except NotThere:
        return []
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise DataError(f"{connection.reference}: its signature is misshapen ({exc!r}); refused") from exc
    if len(layers) > MOST_SIGNATURES:
        raise DataError(f"{connection.reference} has {len(layers)} signatures, more than {MOST_SIGNATURES}; refused")
    return layers


def _one_is_of(
    connection: Connection, key: ec.EllipticCurvePublicKey, layers: list[dict[str, Any]], digest: str
) -> bool:
    contents: dict[str, bytes] = {}  # the payload of several signatures is mostly the same
    for layer in layers:
        blob = read_descriptor(layer)
        if blob.size > MOST_PAYLOAD_BYTES:
            continue
        if blob.digest not in contents:
            try:
                contents[blob.digest] = read_payload(connection, blob.digest)
            except NotThere:
                continue
        if is_signed(key, contents[blob.digest], str(layer["annotations"][ANNOTATION]), digest):
            return True
    return False
