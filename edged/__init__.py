"""Watch cameras on a box with (or without) a GPU and publish what they see over MQTT."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("edged")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"
