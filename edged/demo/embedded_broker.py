"""An MQTT broker for the demo where no mosquitto is installed: `python -m edged.demo.embedded_broker PORT`."""

from __future__ import annotations

import asyncio
import logging
import sys

from amqtt.broker import Broker

LOOPBACK = "127.0.0.1"


async def serve(port: int) -> None:
    """Serve anonymous clients of this machine until cancelled."""
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"{LOOPBACK}:{port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    await broker.start()
    try:
        await asyncio.Event().wait()
    finally:
        await broker.shutdown()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    try:
        asyncio.run(serve(int(sys.argv[1])))
    except KeyboardInterrupt:
        sys.exit(0)
