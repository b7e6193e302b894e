"""The only place where concrete parts are built from settings."""
