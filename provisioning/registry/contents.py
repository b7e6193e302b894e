"""Reads what is small in a repository (manifests, payloads of signatures) and writes contents of any size."""

from __future__ import annotations

from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import quote, urljoin

from edged.core.errors import DataError, Unreachable
from provisioning.registry.artifact import IMAGE, Blob
from provisioning.registry.connection import Connection, NotThere

MOST_MANIFEST_BYTES = 4 << 20
MOST_PAYLOAD_BYTES = 1 << 16


def read_manifest(connection: Connection, which: str) -> bytes:
    """The manifest of a tag or digest, as it came.

    Raises:
        NotThere: there is none.
        DataError: of more than MOST_MANIFEST_BYTES.
        Unreachable: broken off.
        ConfigError, EdgedError: see `Connection.send`.
    """
    with connection.send("GET", f"manifests/{which}", headers={"Accept": IMAGE}) as answer:
        return _read(connection, answer, MOST_MANIFEST_BYTES)


def read_payload(connection: Connection, digest: str) -> bytes:
    """A blob of MOST_PAYLOAD_BYTES at most, as it came.

    Raises:
        As `read_manifest`.
    """
    with connection.send("GET", f"blobs/{digest}") as answer:
        return _read(connection, answer, MOST_PAYLOAD_BYTES)


def _read(connection: Connection, answer: HTTPResponse, most: int) -> bytes:
    try:
        content = answer.read(most + 1)
    except (HTTPException, OSError) as exc:
        raise Unreachable(
            f"registry {connection.reference.host} broke off: {str(exc) or type(exc).__name__}", remedy="try again"
        ) from exc
    if len(content) > most:
        raise DataError(f"{connection.reference}: a manifest or signature of more than {most} bytes; refused")
    if answer.length:  # what is left of the length that was announced
        raise Unreachable(f"registry {connection.reference.host} broke off after {len(content)} bytes of a manifest")
    return content


def upload(connection: Connection, blob: Blob, content: bytes | Path) -> None:
    """Send a blob, unless it is there.

    Raises:
        ConfigError, Unreachable, EdgedError: see `Connection.send`.
    """
    try:
        connection.send("HEAD", f"blobs/{blob.digest}").close()
        return
    except NotThere:
        pass
    with connection.send("POST", "blobs/uploads/", body=b"") as answer:
        place = urljoin(answer.url, answer.headers.get("Location", ""))
    joined = f"{place}{'&' if '?' in place else '?'}digest={quote(blob.digest)}"
    connection.send("PUT", joined, body=content).close()


def put_manifest(connection: Connection, tag: str, content: bytes) -> None:
    """Set a tag to a manifest whose blobs are there.

    Raises:
        ConfigError, Unreachable, EdgedError: see `Connection.send`.
    """
    connection.send("PUT", f"manifests/{tag}", body=content, content_type=IMAGE).close()
