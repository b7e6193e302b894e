"""What looking costs the daemon."""
