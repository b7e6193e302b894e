"""Names of bundles in a registry: `registry/name:tag` or `registry/name@sha256:...`, with or without `oci://`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edged.core.errors import UsageError

SCHEME = "oci://"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"({_HOST})/({_PART}(?:/{_PART})*)(?::([A-Za-z0-9_][A-Za-z0-9._-]{{0,127}}))?(?:@(sha256:[0-9a-f]{{64}}))?"
)
_MOST_LETTERS = 512


@dataclass(frozen=True, slots=True)
class Reference:
    """A bundle's name in a registry.

    Attributes:
        host: of the registry, with its port if one is given.
        name: of the repository.
        tag: empty where only a digest is given.
        digest: `sha256:` and 64 hexadecimal digits; empty where only a tag is given.
    """

    host: str
    name: str
    tag: str
    digest: str

    def __str__(self) -> str:
        return f"{self.repository}{f':{self.tag}' if self.tag else ''}{f'@{self.digest}' if self.digest else ''}"

    @property
    def repository(self) -> str:
        """`registry/name`."""
        return f"{self.host}/{self.name}"


def parse_reference(text: str) -> Reference:
    """Parse a reference.

    Raises:
        UsageError: it is not one; there is no default registry and no default tag.
    """
    match = _REFERENCE.fullmatch(text.removeprefix(SCHEME)) if len(text) <= _MOST_LETTERS else None
    if match is None or not (match[3] or match[4]):
        raise UsageError(
            f"{text[:_MOST_LETTERS]!r} does not name a bundle in a registry",
            remedy="write registry/name:tag or registry/name@sha256:..., in small letters, e.g. "
            "registry.example.org/boxes/yard:1; a user and a password stand in a file (--credentials)",
        )
    return Reference(match[1], match[2], match[3] or "", match[4] or "")
