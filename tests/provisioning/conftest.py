"""Before anything imports torch: one thread, as threads that wait for each other on tiny networks only burn cores."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
