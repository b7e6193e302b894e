"""Bundles in an OCI registry: pushed, signed, and pulled by any number of boxes."""
