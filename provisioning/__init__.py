"""edged-provision: make a model bundle for this device."""

import edged  # noqa: F401 - before anything imports ONNX Runtime: it sends nothing about this device
