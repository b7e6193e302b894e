"""What a camera's stream costs the processor: see `__main__.py`."""
