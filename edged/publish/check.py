"""One attempt to reach the broker, for `edged check`."""

from __future__ import annotations

import os

from edged.publish.connection import Connection
from edged.publish.options import MqttOptions
from edged.publish.tls import tls_context


def check_broker(options: MqttOptions) -> None:
    """Connect to the broker and disconnect; publishes nothing and does not disturb a running daemon.

    Raises:
        BrokerError: not reachable, no answer, or the broker refuses these credentials or this certificate.
        ConfigError: a TLS file cannot be used.
    """
    context = None if options.tls is None else tls_context(options.tls)
    # Not the daemon's own client id: the broker would end its connection in favour of this one.
    connection = Connection(options, client_id=f"edged-check-{os.getpid()}", will=None, context=context)
    connection.open()
    connection.close()
