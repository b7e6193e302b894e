"""Tells objects apart from frame to frame."""
