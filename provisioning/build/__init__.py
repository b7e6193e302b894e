"""TensorRT engines, 8.5 to 11, built in a child process for the very device that runs them."""
