"""What runs in a camera's process and in the fork server, which forks those."""
