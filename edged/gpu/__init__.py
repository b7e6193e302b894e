"""The detector on the GPU."""
