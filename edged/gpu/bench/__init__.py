"""`edged bench --gpu`: what the GPU detector costs beside its engine."""
