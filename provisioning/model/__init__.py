"""The YOLOv5 network and its checkpoints."""
