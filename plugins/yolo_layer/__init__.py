"""The YOLO decode kernel and the TensorRT plugin around it."""
