"""INT8 by explicit Q/DQ nodes: ranges measured over frames, a threshold per tensor, placement; and FP16 typing."""
