"""Compares a quantised model or an engine with the float32 model, and decides whether it may run."""
