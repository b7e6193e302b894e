"""What a camera, file or stream is read with; knows nothing of processes."""
