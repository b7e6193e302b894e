"""Training: loss, recipe and loop."""
