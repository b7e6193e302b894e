"""A real Home Assistant, only where `make test-home-assistant` has installed one."""

from __future__ import annotations

import os

if not os.environ.get("EDGED_TESTS_HOUSE"):
    collect_ignore_glob = ["test_*.py"]
