"""All that the daemon says, on a Unix socket of this machine, and pictures for whoever asks."""
