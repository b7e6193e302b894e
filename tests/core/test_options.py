"""Options are checked when they are made, by what their annotations say."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Interval, MaxLen

from edged.core.options import require_valid, shared


@dataclass(frozen=True, kw_only=True)
class Pause:
    wait_s: Annotated[float, Interval(ge=0.5, le=10.0)] = 1.0


@dataclass(frozen=True)
class Call(Pause):
    name: Annotated[str, MaxLen(4)] = "anna"
    tries: Annotated[int, Interval(ge=1, le=3)] = 1
    ratio: float = 0.0
    loud: bool = False
    way: Literal["in", "out", 2] = "in"
    book: Path = Path("book")
    password: str = field(default="", repr=False)
    after: Pause | None = None

    def __post_init__(self) -> None:
        require_valid(self)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"wait_s": 0.4}, "wait_s must be 0.5 to 10.0, got 0.4"),
        ({"wait_s": float("nan")}, "wait_s must be 0.5 to 10.0, got nan"),
        ({"ratio": float("inf")}, "ratio must be finite, got inf"),
        ({"ratio": True}, "ratio must be a number, got True"),
        ({"name": "annabel"}, "name must have at most 4 characters, got 'annabel'"),
        ({"name": None}, "name must be text, got None"),
        ({"tries": 2.0}, "tries must be a whole number, got 2.0"),
        ({"tries": True}, "tries must be a whole number, got True"),
        ({"tries": 4}, "tries must be 1 to 3, got 4"),
        ({"loud": 1}, "loud must be true or false, got 1"),
        ({"way": "up"}, "way must be in, out or 2, got 'up'"),
        ({"way": 2.0}, "way must be in, out or 2, got 2.0"),
        ({"way": []}, "way must be in, out or 2, got []"),
        ({"book": "book"}, "book must be a path, got 'book'"),
        ({"password": b"hunter2"}, "password must be text"),
    ],
    ids=str,
)
def test_an_impossible_value_is_named(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - compared whole
        Call(**wrong)
    assert str(caught.value) == said


def test_the_ends_of_a_range_and_whole_numbers_for_real_ones_are_taken() -> None:
    Call(wait_s=10, name="anna", tries=3, ratio=-5, way=2, after=Pause())


def test_shared_fields_make_another() -> None:
    assert shared(Pause, Call(name="bob", wait_s=2.0)) == {"wait_s": 2.0}
