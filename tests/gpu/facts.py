"""What a GPU machine is, as JSON: card, driver, link, processor, versions. `python -m tests.gpu.facts`.

The standard library only. What cannot be found out is empty; nothing fails.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from tests.gpu.packages import DISTRIBUTIONS

_CARD = (
    "name,driver_version,compute_cap,memory.total,pcie.link.gen.current,pcie.link.gen.max,pcie.link.width.current,"
    "clocks.max.sm,clocks.max.mem,power.limit"
)
_LIMIT_S = 20.0
_ALSO = ("torch", "cuda-core", "nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12")
# In processes of their own: a TensorRT that cannot start may end the one that imports it.
_VERSION = "import {0}; print({0}.__version__)"


def facts() -> dict[str, Any]:
    """All of it."""
    cards = said(("nvidia-smi", f"--query-gpu={_CARD}", "--format=csv,noheader")).splitlines()
    return {
        "cards": [dict(zip(_CARD.split(","), map(str.strip, card.split(",")), strict=False)) for card in cards],
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "tensorrt": said((sys.executable, "-c", _VERSION.format("tensorrt"))),
        "tensorrt_rtx": said((sys.executable, "-c", _VERSION.format("tensorrt_rtx"))),
        "packages": {name: version for name in (*DISTRIBUTIONS.values(), *_ALSO) if (version := _version(name))},
    }


def said(command: Sequence[str]) -> str:
    """What a program prints; empty where it fails or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.stdout.write(json.dumps(facts()) + "\n")
