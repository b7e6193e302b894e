"""ULIDs: ids that sort by the time at which they were made (https://github.com/ulid/spec)."""

from __future__ import annotations

import secrets
from datetime import datetime, timezone

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32
_LENGTH, _RANDOM_BITS = 26, 80
_LAST = "76EZ91ZPZZ" + "Z" * 16  # of the year 9999, in which `datetime` ends


def is_ulid(text: str) -> bool:
    """Whether `text` is an id as `new_ulid` makes them."""
    return len(text) == _LENGTH and set(text) <= set(_ALPHABET) and text <= _LAST


def time_of(ulid: str) -> datetime:
    """When an id was made, UTC, to the millisecond.

    Raises:
        ValueError: it is no id.
    """
    if not is_ulid(ulid):
        raise ValueError(f"{ulid!r} is no ULID")
    number = 0
    for letter in ulid:
        number = number << 5 | _ALPHABET.index(letter)
    return datetime.fromtimestamp((number >> _RANDOM_BITS) / 1000, timezone.utc)


def new_ulid(at: datetime) -> str:
    """A new id of 26 letters: milliseconds of `at`, which must carry a time zone, and 80 random bits."""
    number = max(0, int(at.timestamp() * 1000)) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(5 * (_LENGTH - 1), -1, -5))
