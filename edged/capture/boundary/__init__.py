"""What crosses between the two: messages and shared memory."""
