"""Pulls a bundle from a registry into a store: signed, checked byte by byte, only what is missing, resumed."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import time
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from edged.core.bundle import MANIFEST, OBJECTS
from edged.core.errors import DataError, EdgedError, Unreachable
from edged.core.manifest import Manifest
from provisioning.files import file_sha256
from provisioning.registry.artifact import Blob, digest_of, read_image, require_same
from provisioning.registry.connection import Connection, PastEnd
from provisioning.registry.contents import read_manifest
from provisioning.registry.signed import require_signed

logger = logging.getLogger(__name__)

ATTEMPTS = 4
_BLOCK_BYTES = 1 << 18


@dataclasses.dataclass(frozen=True, slots=True)
class Pulled:
    """A bundle whose files lie on this disk, whole.

    Attributes:
        digest: of its image manifest in the registry.
        manifest: the bundle's own; its provenance says where it was pulled from.
        files: by name, without `manifest.json`.
        fetched_bytes: that came over the network.
    """

    digest: str
    manifest: Manifest
    files: Mapping[str, Path]
    fetched_bytes: int


def resolve(connection: Connection, key: ec.EllipticCurvePublicKey | None) -> tuple[str, dict[str, Blob]]:
    """The digest that the reference means now, and the files of its bundle, by name.

    Args:
        connection: to the repository.
        key: the signature must be of it; None takes unsigned ones.

    Raises:
        DataError: not a bundle, not signed by the key, or not of the digest that was asked for.
        ConfigError, Unreachable, EdgedError: the registry refuses or does not answer.
    """
    reference = connection.reference
    content = read_manifest(connection, reference.digest or reference.tag)
    digest = digest_of(content)
    if reference.digest not in {"", digest}:
        raise DataError(f"{reference}: the registry gave a manifest of {digest}; refused")
    if key is not None:
        require_signed(connection, key, digest)
    return digest, read_image(content, where=str(reference))


def pull(connection: Connection, digest: str, blobs: Mapping[str, Blob], folder: Path, store: Path) -> Pulled:
    """Fetch what is missing of a bundle into `folder`, where a broken download is resumed by the next call.

    Args:
        connection: to the repository.
        digest, blobs: from `resolve`.
        folder: gets a file for each blob, named by its hash.
        store: files that its bundles hold already are taken from there.

    Raises:
        DataError: a file is not what the manifest says.
        Unreachable: cut off too often; what has come is kept.
        EdgedError: the disk is full or not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = _there(store, folder, blobs)
        missing = {blob.digest: blob for blob in blobs.values() if blob.digest not in there}
        _require_space(folder, store, sum(blob.size for blob in blobs.values()), missing)
        for blob in missing.values():
            there[blob.digest] = fetch_blob(connection, blob, folder)
        text = there[blobs[MANIFEST].digest].read_bytes()
    except OSError as exc:
        raise EdgedError(
            f"{exc.filename or folder}: {exc.strerror or exc}",
            remedy="free space or mend permissions and pull again; the active bundle is as it was",
        ) from exc
    where = f"{connection.reference}: {MANIFEST}"
    try:
        manifest = Manifest.from_json(text.decode(), where=where)
    except UnicodeDecodeError as exc:
        raise DataError(f"{where}: not UTF-8") from exc
    require_same(manifest, blobs, where=str(connection.reference))
    origin = {"registry": connection.reference.repository, "registry_digest": digest}
    manifest = dataclasses.replace(manifest, provenance={**manifest.provenance, **origin})
    files = {name: there[blob.digest] for name, blob in blobs.items() if name != MANIFEST}
    return Pulled(digest, manifest, files, sum(blob.size for blob in missing.values()))


def fetch_blob(connection: Connection, blob: Blob, folder: Path) -> Path:
    """Download one blob to `folder`; a broken download goes on where it stopped.

    Raises:
        DataError: its content is not of its hash or size; nothing of it is kept.
        Unreachable: cut off in all ATTEMPTS; what came is kept.
        OSError: the disk is full.
    """
    part = folder / f"{blob.sha256}.part"
    for attempt in range(ATTEMPTS):
        try:
            _continue(connection, blob, part)
            break
        except Unreachable as exc:
            if isinstance(exc, PastEnd):
                part.unlink(missing_ok=True)
            if attempt == ATTEMPTS - 1:
                raise
            logger.warning("%s; trying again (%d of %d)", exc, attempt + 2, ATTEMPTS)
            time.sleep(min(2.0**attempt, 8.0) / 8)
    if (found := file_sha256(part)) != blob.sha256:
        part.unlink()
        raise DataError(
            f"{connection.reference}: expected a file of SHA-256 {blob.sha256}, the registry sent {found}",
            remedy="the registry's copy is damaged or was altered: push it again; the active bundle is as it was",
        )
    return part.replace(folder / blob.sha256)


def _continue(connection: Connection, blob: Blob, part: Path) -> None:
    have = part.stat().st_size if part.exists() else 0
    if have > blob.size:
        part.unlink()
        have = 0
    if have == blob.size and have:
        return
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with connection.send("GET", f"blobs/{blob.digest}", headers=headers) as answer:
        resumed = answer.status == HTTPStatus.PARTIAL_CONTENT
        if resumed and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink()
            raise Unreachable(f"registry {connection.reference.host} went on at another byte than asked")
        have = have if resumed else 0
        with part.open("ab" if resumed else "wb") as file:
            while have <= blob.size:
                try:
                    block = answer.read1(_BLOCK_BYTES)
                except (HTTPException, OSError) as exc:
                    raise _broken(connection, have, blob, str(exc) or type(exc).__name__) from exc
                if not block:
                    break
                have += file.write(block)
    if have > blob.size:
        part.unlink()
        raise DataError(f"{connection.reference}: the registry sent more than the {blob.size} bytes of {blob.digest}")
    if have < blob.size:
        raise _broken(connection, have, blob, "cut off")


def _broken(connection: Connection, have: int, blob: Blob, why: str) -> Unreachable:
    return Unreachable(
        f"registry {connection.reference.host} broke off after {have} of {blob.size} bytes: {why}",
        remedy="what came is kept; the same command goes on",
    )


def _there(store: Path, folder: Path, blobs: Mapping[str, Blob]) -> dict[str, Path]:
    """Files of these blobs that are on this disk already, whole, by digest."""
    found: dict[str, Path] = {}
    for name, blob in blobs.items():
        places = [folder / blob.sha256, *(store / OBJECTS).glob(f"[0-9a-f]*/{name}")]
        whole = (place for place in places if place.is_file() and not place.is_symlink())
        same = (each for each in whole if each.stat().st_size == blob.size and file_sha256(each) == blob.sha256)
        if (place := next(same, None)) is not None:
            found[blob.digest] = place
    return found


def _require_space(folder: Path, store: Path, whole: int, missing: Mapping[str, Blob]) -> None:
    """Check that the missing files fit beside what is kept of them, and the bundle in the store after that."""
    to_come = 0
    for blob in missing.values():
        part = folder / f"{blob.sha256}.part"
        to_come += blob.size - min(blob.size, part.stat().st_size if part.exists() else 0)
    place = next(each for each in (store, *store.parents) if each.exists())
    wanted = {folder: to_come, place: whole}
    if folder.stat().st_dev == place.stat().st_dev:
        wanted = {folder: to_come + whole}
    for where, needed in wanted.items():
        free = shutil.disk_usage(where).free
        if needed and free < needed:
            raise EdgedError(
                f"{where}: {needed:,} bytes are needed for the bundle, {free:,} are free",
                remedy="free some space; nothing was fetched and the active bundle is as it was",
            )
