"""Which authorities a camera's certificate may come from."""

from __future__ import annotations

import os
from pathlib import Path

from edged.capture.spec import CameraSpec
from edged.core.errors import CameraError

# FFmpeg's wheels and OpenSSL look where their builders had these.
_SYSTEMS = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, Red Hat
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",
)


REMEDY = (
    "name its authority's certificate in ca_file (for a single command in the environment's SSL_CERT_FILE), "
    "or say verify = false"
)


def authorities(spec: CameraSpec) -> str:
    """Path of a PEM file: the camera's own `ca_file`, else the system's.

    Raises:
        CameraError: it cannot be read, or the system has none.
    """
    if spec.ca_file:
        try:
            Path(spec.ca_file).read_bytes()
        except OSError as exc:
            raise CameraError(f"camera {spec.name}: ca_file {spec.ca_file!r} cannot be read: {exc.strerror}") from exc
        return spec.ca_file
    paths = (os.environ.get("SSL_CERT_FILE", ""), *_SYSTEMS)
    found = next((path for path in paths if path and Path(path).is_file()), "")
    if not found:
        raise CameraError(
            f"{spec.shown_source}: this system knows no authorities to check its certificate with",
            remedy="install ca-certificates, name a file in ca_file, or say verify = false",
        )
    return found
