"""Keys of `[probation]`, with their ranges and defaults."""

# No `from __future__ import annotations` here: pydantic before 2.10 resolves annotations in the subclass's module.

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval


@dataclass(frozen=True, kw_only=True)
class ProbationOptions:
    """Keys of `[probation]`.

    Attributes:
        for_s: how long a newly activated bundle is on trial, seconds; 0: never.
        least_rate: share of the frames a second before, 0..1, below which it fails; 0: any rate will do.
    """

    for_s: Annotated[float, Interval(ge=0.0, le=604_800.0)] = 600.0
    least_rate: Annotated[float, Interval(ge=0.0, le=1.0)] = 0.5
