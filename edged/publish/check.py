"""One attempt to reach the broker, for `edged check`."""

from __future__ import annotations

import os
import ssl

from edged.publish.connection import Connection
from edged.publish.faults import BrokerHungUp, BrokerRefusal
from edged.publish.options import MqttOptions
from edged.publish.tls import tls_context


def check_broker(options: MqttOptions) -> None:
    """Connect to the broker and disconnect; publishes nothing.

    It comes under a client id of its own, so that the broker does not end a running daemon's connection in favour of
    this one. Where that is refused and a client id is configured, as clouds know one for each device, it tries that: a
    daemon that runs loses its connection then.

    Raises:
        BrokerError: not reachable, no answer, or the broker refuses these credentials or this certificate.
        ConfigError: a TLS file cannot be used.
    """
    context = None if options.tls is None else tls_context(options.tls)
    try:
        _visit(options, f"edged-check-{os.getpid()}", context)
    except (BrokerRefusal, BrokerHungUp):
        if not options.client_id:
            raise
        _visit(options, options.client_id, context)


def _visit(options: MqttOptions, client_id: str, context: ssl.SSLContext | None) -> None:
    connection = Connection(options, client_id=client_id, will=None, context=context)
    connection.open()
    connection.close()
