"""The table of faults names tests that exist, for every row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
TABLE = (TESTS / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`(\S+\.py)::(\w+)`", TABLE))), ids="::".join)
def test_table_names_a_test_that_exists(named: tuple[str, str]) -> None:
    file, test = named
    assert f"\ndef {test}(" in (TESTS / file).read_text(encoding="utf-8")


def test_table_has_every_row_with_a_test_or_an_honest_tag() -> None:
    rows = re.findall(r"^\| (\d+) \|(.*)\|$", TABLE, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 39))
    for number, cells in rows:
        assert "::" in cells or "make soak" in cells or "unproved" in cells, number
