"""`edged run`: the service."""

from __future__ import annotations

import argparse
from pathlib import Path

from edged.core.paths import CONFIG

NAME = "run"
HELP = "the service: capture, detect, publish until stopped"
DESCRIPTION = """\
Capture cameras, detect objects and publish them over MQTT until SIGTERM or SIGINT. SIGHUP reads the file again.

  edged run
  edged run --config ./edged.toml
  EDGED_MQTT__PASSWORD=... edged run

Exit code: 0 stopped, 65 bad data, 70 the detector failed (systemd restarts it), 78 wrong configuration or a bundle
that does not fit this machine (systemd does not restart it).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--config", type=Path, default=CONFIG, metavar="FILE", help="default: %(default)s")


def run(arguments: argparse.Namespace) -> int:
    """Run the daemon."""
    from edged.daemon import run_daemon

    return run_daemon(arguments.config)
