"""The detector on the CPU: the reference that the GPU detector is compared with."""
