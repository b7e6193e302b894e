"""Training: data, loss, optimiser, loop and reports."""
