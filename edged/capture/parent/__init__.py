"""In the daemon: one thread that runs all cameras, each in a process of its own."""
