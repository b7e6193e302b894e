"""How many devices one broker carries: `python -m tests.scale`."""
