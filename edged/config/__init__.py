"""edged.toml, environment and credentials -> frozen settings; every check and its message."""

from edged.config.load import load_settings
from edged.config.schema import Settings

__all__ = ["Settings", "load_settings"]
