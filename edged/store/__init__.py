"""A store of model bundles as the daemon needs it: its links, its lock, and which bundles proved themselves."""
