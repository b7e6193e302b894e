"""The files of the page, read once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from importlib import resources

PAGE = "index.html"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_LOGIN = "login.html"


@dataclass(frozen=True, slots=True)
class File:
    """One file.

    Attributes:
        kind: its media type.
        tag: of this content, for `If-None-Match`.
    """

    content: bytes = field(repr=False)
    kind: str
    tag: str


def page_files() -> dict[str, File]:
    """Every file by its name, but the page where a token is asked for."""
    folder = resources.files("edged.view").joinpath("page")
    found = {each.name: each.read_bytes() for each in folder.iterdir() if each.name != _LOGIN}
    return {
        name: File(content, KINDS[f".{name.rpartition('.')[2]}"], f'"{hashlib.sha256(content).hexdigest()[:16]}"')
        for name, content in found.items()
        if f".{name.rpartition('.')[2]}" in KINDS
    }


LOGIN = resources.files("edged.view").joinpath("page").joinpath(_LOGIN).read_bytes()
