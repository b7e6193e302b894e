"""The daemon measured beside the limit of the machine and beside the plain loop."""
