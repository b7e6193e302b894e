"""Says what is seen in Frigate's topics as well, for automations that were written for it."""
