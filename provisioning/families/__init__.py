"""Detectors of other families: their heads are found in a graph, understood by numbers, and rewritten as grid heads."""
