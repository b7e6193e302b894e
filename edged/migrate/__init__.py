"""Configurations of other programs -> edged.toml; what edged has no counterpart for becomes a comment."""
