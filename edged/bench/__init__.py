"""Measures the daemon and compares it with the limit of the machine and with a plain loop."""
