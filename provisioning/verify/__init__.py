"""Holds a quantised or built model against the float32 one, and decides whether it may run."""
