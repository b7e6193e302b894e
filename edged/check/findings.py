"""What was found of one part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edged.core.errors import EdgedError
from edged.core.redact import redact


@dataclass(frozen=True, slots=True)
class Finding:
    """One part's result.

    Attributes:
        part: `configuration`, `model`, `camera NAME` or `broker`.
        ok: whether it is usable.
        detail: what it is, or what is wrong and how to mend it.
        exit_code: 0, or the code of the failure.
        facts: of a camera, for programs: the same as in `detail` and `notes`.
        notes: lines below it, for people.
    """

    part: str
    ok: bool
    detail: str
    exit_code: int = 0
    facts: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        first = f"{'ok  ' if self.ok else 'FAIL'}  {self.part}: {self.detail}"
        return "\n      ".join([first, *self.notes])

    def as_json(self) -> dict[str, object]:
        """What programs get."""
        return {name: getattr(self, name) for name in ("part", "ok", "detail", "exit_code", "facts")}


def failure(part: str, error: EdgedError) -> Finding:
    """What is wrong with a part."""
    return Finding(part, ok=False, detail=redact(str(error)), exit_code=error.exit_code)
