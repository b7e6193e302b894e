"""Watch cameras on a box with (or without) a GPU and publish what they see over MQTT."""

from __future__ import annotations

import os

# ONNX Runtime 1.29 and later report each model loaded to Microsoft, and keep an identifier of the device, unless this
# is set before it is first imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> str:
    # Read only when asked for: every camera's process imports this package, and reading metadata is slow.
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        return version("edged")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0.0.0"
