"""What runs in the daemon: one thread that supervises all cameras, each in a process of its own."""
