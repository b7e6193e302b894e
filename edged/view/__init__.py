"""The page: a program of its own that listens to the daemon's feed. Whatever happens to it, detection goes on."""
