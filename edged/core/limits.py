"""Bounds that every backend shares, so that CPU and GPU cut off at the same box."""

MAX_CANDIDATES = 8192  # boxes that enter NMS, the best by score; a frame of real objects has a few hundred
MAX_DETECTIONS = 300  # default of boxes that leave it, as in YOLOv5
MOST_DETECTIONS = 1000  # a configuration may ask for, at the start or by a reload: the GPU reserves room for them
