"""`python -m tests.soak`: hours of faults against a real daemon, and a table of what became of every frame."""
