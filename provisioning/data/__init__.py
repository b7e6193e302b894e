"""Data sets: reading, checking, converting, rendering, augmenting."""
