"""Where things are on an installed machine."""

from pathlib import Path

CONFIG = Path("/etc/edged/edged.toml")
STATE_DIR = Path("/var/lib/edged")
MODELS = STATE_DIR / "models"  # the bundle store; its link `active` is what the daemon runs
