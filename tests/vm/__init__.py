"""What only a machine of its own can show: power cuts, MemoryMax=, clock, cameras. `python -m tests.vm`, by hand."""
