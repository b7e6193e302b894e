"""Translates failures of DNS, TCP, TLS and MQTT into BrokerErrors that say what to do."""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import dataclass

from paho.mqtt.reasoncodes import ReasonCode

from edged.core.errors import BrokerError
from edged.publish.options import WEBSOCKETS, MqttOptions
from edged.publish.tls import describe_tls_failure
from edged.publish.websocket import UpgradeError

# Reason codes of MQTT 5 (section 2.4); paho gives the same values for the return codes of 3.1.1.
UNSUPPORTED_VERSION = 0x84
CLIENT_ID_INVALID = 0x85
BAD_CREDENTIALS = 0x86
NOT_AUTHORIZED = 0x87
SERVER_UNAVAILABLE = 0x88
SERVER_BUSY = 0x89
BANNED = 0x8A
KEEP_ALIVE_TIMEOUT = 0x8D
SESSION_TAKEN_OVER = 0x8E
TOPIC_INVALID = 0x90
PACKET_TOO_LARGE = 0x95
PAYLOAD_INVALID = 0x99
FAILED = 0x80  # this code and all above are refusals

# A message refused for one of these will be refused every time.
HOPELESS = frozenset({TOPIC_INVALID, PACKET_TOO_LARGE, PAYLOAD_INVALID})

# Codes of HTTP (RFC 9110).
_REDIRECTED, _ASKED_WRONGLY, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _ITS_FAULT = 300, 400, 401, 403, 404, 500


class BrokerRefusal(BrokerError):
    """The broker answered and refuses this client: trying again soon does not help."""


class BrokerHungUp(BrokerError):
    """The broker ended the connection instead of answering: it may refuse this client without saying so."""


@dataclass(frozen=True, slots=True)
class Silence:
    """How a connection ended that brought no answer to CONNECT.

    Attributes:
        closed: by the broker; else the time was up.
        http: it spoke HTTP instead of MQTT.
        detail: in words of the transport.
    """

    closed: bool
    http: bool
    detail: str


def connect_failure(exc: OSError, options: MqttOptions) -> BrokerError:
    """The error for an exception of DNS, TCP or TLS."""
    address = options.address
    if isinstance(exc, ssl.SSLError):
        message, remedy = describe_tls_failure(exc, options)
        return BrokerError(message, remedy=remedy)
    if isinstance(exc, UpgradeError):
        return _upgrade_failure(exc, options)
    if isinstance(exc, socket.gaierror):
        return BrokerError(
            f"broker host {options.host!r} cannot be resolved: {exc.strerror}", remedy="check the host name and DNS"
        )
    if isinstance(exc, ConnectionRefusedError):
        return BrokerError(
            f"broker {address} refused the connection", remedy="check that it runs and listens on this port"
        )
    if isinstance(exc, ConnectionResetError):
        return BrokerError(f"broker {address} closed the connection", remedy=_suspicion(options))
    if isinstance(exc, TimeoutError):
        return BrokerError(
            f"broker {address} did not answer within {options.connect_timeout_s:g} s",
            remedy="check host, port and firewall",
        )
    return BrokerError(f"broker {address} cannot be reached: {_system_text(exc)}", remedy="check host and network")


def _upgrade_failure(exc: UpgradeError, options: MqttOptions) -> BrokerError:
    """The error where no WebSocket was opened. What a web server answers by rule, it answers again."""
    problem = f"broker {options.address} opened no WebSocket"
    if not exc.status:
        return BrokerError(f"{problem}: {exc}", remedy=_suspicion(options))
    problem = f"{problem}, it answers {exc.status}"
    if exc.code >= _ITS_FAULT:
        return BrokerError(problem, remedy="check the broker, and the proxy before it")
    if exc.code in (_UNAUTHORIZED, _FORBIDDEN):
        return BrokerRefusal(problem, remedy="check [mqtt] path and its query, and whom the server lets in")
    if exc.code == _NOT_FOUND:
        return BrokerRefusal(problem, remedy='check [mqtt] path; others than "/mqtt" are "/" and "/ws"')
    if _REDIRECTED <= exc.code < _ASKED_WRONGLY:
        return BrokerRefusal(problem, remedy="name the place that it leads to in [mqtt] host, port and path")
    return BrokerRefusal(problem, remedy="check [mqtt] port and path: a web server may be there, not a broker")


def _system_text(exc: OSError) -> str:
    return os.strerror(exc.errno) if exc.errno else str(exc) or type(exc).__name__


def refusal(reason: ReasonCode, options: MqttOptions, *, client_id: str) -> BrokerError:
    """The error for a CONNACK other than success."""
    address = options.address
    if reason.value in (BAD_CREDENTIALS, NOT_AUTHORIZED):
        who = f"the credentials of user {options.username!r}" if options.username else "a client without credentials"
        return BrokerRefusal(f"broker {address} refuses {who}: {reason}", remedy="check [mqtt] username and password")
    if reason.value == BANNED:
        return BrokerRefusal(f"broker {address} has banned client id {client_id!r}")
    if reason.value == CLIENT_ID_INVALID:
        return BrokerRefusal(f"broker {address} does not accept client id {client_id!r}", remedy="set [mqtt] client_id")
    if reason.value == UNSUPPORTED_VERSION:
        other = "3.1.1" if options.protocol == "5" else "5"
        return BrokerRefusal(
            f"broker {address} does not speak MQTT {options.protocol}", remedy=f'set [mqtt] protocol = "{other}"'
        )
    if reason.value in (SERVER_UNAVAILABLE, SERVER_BUSY):
        return BrokerError(f"broker {address} answers that it is unavailable: {reason}")
    return BrokerRefusal(f"broker {address} refuses the connection: {reason}")


def no_answer(options: MqttOptions, silence: Silence) -> BrokerError:
    """The error where the transport is connected, but no CONNACK came."""
    if silence.http:
        return BrokerError(
            f"broker {options.address} answers in HTTP, not in MQTT",
            remedy=f'a WebSocket port wants [mqtt] transport = "{WEBSOCKETS}"; else name its MQTT port',
        )
    if not silence.closed:
        return BrokerError(
            f"broker {options.address} accepted the connection but did not answer within"
            f" {options.connect_timeout_s:g} s",
            remedy="check that it is an MQTT broker and not frozen",
        )
    if "alert" in silence.detail.lower():
        return BrokerError(
            f"broker {options.address} refused this client's TLS certificate: {silence.detail}",
            remedy="check cert_file and key_file",
        )
    remedy = _suspicion(options)
    if options.tls is not None:  # in TLS 1.3 a refused client learns of it only after the handshake
        whom = "this client certificate" if options.tls.cert_file else "a client without certificate"
        remedy = f"it may not accept {whom}: check cert_file and key_file; or this client id, or want [mqtt] alpn"
    return BrokerHungUp(f"broker {options.address} closed the connection without an answer", remedy=remedy)


def _suspicion(options: MqttOptions) -> str:
    if options.transport == WEBSOCKETS:
        problem = 'it may be an MQTT port, which wants [mqtt] transport = "tcp"'
        if options.tls is None:
            return f"{problem}, or expect TLS"
        whom = "this client certificate" if options.tls.cert_file else "a client without certificate"
        return f"{problem}, or not accept {whom}: check cert_file and key_file"
    if options.tls is not None:
        return "it may not speak TLS on this port, or not be an MQTT broker"
    return "it may expect TLS, or not be an MQTT broker"
