"""Signatures as `cosign` makes and checks them: ECDSA on P-256 over a payload that names the bundle's digest."""

from __future__ import annotations

import base64
import binascii
import json
import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from edged.core.errors import ConfigError

PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
ANNOTATION = "dev.cosignproject.cosign/signature"
_TYPE = "cosign container image signature"
_ALGORITHM = ec.ECDSA(SHA256())
_MAKE = "openssl ecparam -name prime256v1 -genkey -noout -out bundles.key && openssl ec -in bundles.key -pubout"


def signature_tag(digest: str) -> str:
    """Under which tag the signatures of a manifest lie."""
    return f"{digest.replace(':', '-', 1)}.sig"


def payload(repository: str, digest: str) -> bytes:
    """What is signed: a statement that the manifest of this digest belongs to `repository`."""
    critical = {
        "identity": {"docker-reference": repository},
        "image": {"docker-manifest-digest": digest},
        "type": _TYPE,
    }
    return json.dumps({"critical": critical, "optional": None}, separators=(",", ":")).encode()


def private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read the key to sign with: PEM, not encrypted.

    Raises:
        ConfigError: it cannot be read, is another kind of key, or others may read it.
    """
    content = _read(path, secret=True)
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # their messages may quote the key
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigError(f"{path} is not a private key of ECDSA P-256 in PEM without a password", remedy=_MAKE)
    return key


def public_key(path: Path) -> ec.EllipticCurvePublicKey:
    """Read the key that signatures must be of: PEM, as `cosign.pub` is.

    Raises:
        ConfigError: it cannot be read, is another kind of key, or everyone may write it.
    """
    content = _read(path, secret=False)
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigError(f"verify_key {path} is not a public key of ECDSA P-256 in PEM", remedy=f"make one: {_MAKE}")
    return key


def sign(key: ec.EllipticCurvePrivateKey, content: bytes) -> str:
    """The signature, in base64."""
    return base64.b64encode(key.sign(content, _ALGORITHM)).decode()


def is_signed(key: ec.EllipticCurvePublicKey, content: bytes, signature: str, digest: str) -> bool:
    """Whether `signature` (base64) is of this key over `content`, and that speaks of the manifest of this digest."""
    try:
        key.verify(base64.b64decode(signature, validate=True), content, _ALGORITHM)
        critical = json.loads(content)["critical"]
        return bool(critical["type"] == _TYPE and critical["image"]["docker-manifest-digest"] == digest)
    except (InvalidSignature, binascii.Error, ValueError, KeyError, TypeError):
        return False


def _read(path: Path, *, secret: bool) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(1 << 16)
    except OSError as exc:
        raise ConfigError(f"key {path} cannot be read: {exc.strerror}") from exc
    if secret and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"{path} is a private key and others may read it", remedy=f"chmod 600 {path}")
    if mode & stat.S_IWOTH:
        raise ConfigError(f"{path} is a key and everyone may write it", remedy=f"chmod o-w {path}")
    return content
