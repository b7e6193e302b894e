"""Cuts a user's YOLOv5 ONNX export at its heads; the anchors are recovered from the decode that is cut off."""
