"""Bounds that every backend shares, so that CPU and GPU cut off at the same box."""

MAX_CANDIDATES = 8192  # boxes that enter NMS, the best by score; a frame of real objects has a few hundred
MAX_DETECTIONS = 300  # default of boxes that leave it, as in YOLOv5
