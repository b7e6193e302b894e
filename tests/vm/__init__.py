"""What only a machine of its own can show: power cuts, MemoryMax=, the clock. `python -m tests.vm`, by hand."""
