"""A user's own YOLOv5 ONNX export, cut at its three heads: the decode goes, its anchors are recovered from it."""
