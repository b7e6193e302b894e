"""`edged bench --gpu`: what the GPU detector costs in addition to its engine."""
