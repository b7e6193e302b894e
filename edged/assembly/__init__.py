"""Builds concrete parts from settings; no other package does."""
