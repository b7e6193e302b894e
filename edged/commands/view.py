"""`edged view`: the page, in a program of its own."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "view"
HELP = "a page to look at: live pictures, events, statistics, zones; metrics"
DESCRIPTION = """\
Serve a page that shows what edged on this machine sees, at http://127.0.0.1:8710/ by default, and at /metrics what
Prometheus reads. It is a program of its own: whatever happens to it, detection goes on.

  edged view
  edged view --listen 127.0.0.1:9000 --socket /run/user/1000/edged/box/feed.sock
  edged view --config view.toml             other machines may look: a token, TLS
  edged view --fleet --config view.toml     all boxes that publish to the broker of [mqtt]

Exit code: 0 stopped, 78 wrong configuration.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="default: /etc/edged/view.toml, where it is there")
    parser.add_argument(
        "--socket", type=Path, metavar="PATH", help="of the daemon's feed (default: the one that is found)"
    )
    parser.add_argument("--listen", metavar="ADDRESS:PORT", help="default: 127.0.0.1:8710; port 0: any that is free")
    parser.add_argument("--events", type=Path, metavar="FILE", help="keep events here (default: in memory)")
    parser.add_argument("--fleet", action="store_true", help="show what any number of boxes publish over MQTT, too")


def run(arguments: argparse.Namespace) -> int:
    """Serve until stopped."""
    from edged.logs import set_up_logging
    from edged.view.options import load_view_settings
    from edged.view.places import changes_of, find_socket, usual_events
    from edged.view.run import run_view

    set_up_logging("info")
    changes = changes_of(arguments.listen, arguments.socket, arguments.events)
    settings = load_view_settings(arguments.config, changes, events=usual_events())
    named = settings.feed.socket
    find = find_socket if named is None else lambda: named
    alone = arguments.fleet and named is None and not find_socket().exists()
    return run_view(settings, socket=None if alone else find, fleet=arguments.fleet)
