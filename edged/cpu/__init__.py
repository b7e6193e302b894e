"""The detector on the CPU: the reference that the GPU is held against."""
