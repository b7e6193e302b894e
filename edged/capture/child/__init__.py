"""In a camera's process, and the process that forks them."""
