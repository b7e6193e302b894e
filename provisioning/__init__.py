"""edged-provision: make a model bundle for this device."""
