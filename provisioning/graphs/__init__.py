"""Reads and rewrites ONNX graphs: plain forms of what exporters write, shapes, quantised weights as float ones."""
