"""What crosses between the daemon and a camera's process: messages and shared memory."""
