"""Video devices (V4L2): what they offer, which of it is taken, and how they are opened."""
