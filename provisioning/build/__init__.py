"""TensorRT engines, built in a child process: for the very device that runs them, or by that for RTX for others."""
