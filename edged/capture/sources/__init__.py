"""Readers of cameras, files and streams; independent of processes."""
