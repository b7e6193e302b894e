"""Makes INT8 graphs (calibration over frames, then Q/DQ nodes) and FP16 graphs for strongly typed networks."""
