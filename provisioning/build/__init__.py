"""Builds TensorRT engines in a child process: for the GPU of this machine or, with TensorRT for RTX, for others."""
