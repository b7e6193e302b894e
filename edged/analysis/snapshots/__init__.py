"""The best picture of each object: chosen in the pipeline's thread, made and stored in another."""
