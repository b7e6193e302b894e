"""ULIDs: ids that sort by the time at which they were made (https://github.com/ulid/spec)."""

from __future__ import annotations

import secrets
from datetime import datetime

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32
_LENGTH, _RANDOM_BITS = 26, 80


def new_ulid(at: datetime) -> str:
    """A new id of 26 letters: milliseconds of `at`, which must carry a time zone, and 80 random bits."""
    number = max(0, int(at.timestamp() * 1000)) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(5 * (_LENGTH - 1), -1, -5))
