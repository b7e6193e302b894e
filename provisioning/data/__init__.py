"""Data sets: reading, checking, converting, augmenting."""
