"""Operators that run inside or behind the engine."""
