"""edged.toml, environment and credentials -> frozen settings; every check and its message."""

from edged.config.load import DEFAULT_PATH, load_settings
from edged.config.schema import Settings

__all__ = ["DEFAULT_PATH", "Settings", "load_settings"]
