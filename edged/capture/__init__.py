"""Cameras: one killable child process each, frames through shared memory."""
