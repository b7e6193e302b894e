"""TLS contexts for the broker connection, and messages for failed handshakes."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path

from edged.core.errors import ConfigError
from edged.publish.options import WEBSOCKETS, MqttOptions, TlsOptions

# X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL's x509_vfy.h.
_NAME_MISMATCH = frozenset({62, 64})


def tls_context(options: TlsOptions) -> ssl.SSLContext:
    """A context for TLS 1.2 or newer; checks the server's certificate and name unless `insecure` is set.

    Raises:
        ConfigError: a file is missing, unreadable or not what it should be.
    """
    for key, file in (("ca_file", options.ca_file), ("cert_file", options.cert_file), ("key_file", options.key_file)):
        _require_readable(key, file)
    context = _trusting(options)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_client_certificate(context, options)
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _trusting(options: TlsOptions) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except (ssl.SSLError, OSError) as exc:
        raise ConfigError(f"TLS ca_file {options.ca_file} holds no certificate in PEM form: {exc}") from exc
    if options.alpn:
        context.set_alpn_protocols(list(options.alpn))
    return context


def _load_client_certificate(context: ssl.SSLContext, options: TlsOptions) -> None:
    if options.cert_file is None:
        return
    try:
        # A key with a passphrase must fail here: without the callable OpenSSL would ask at the terminal.
        context.load_cert_chain(options.cert_file, options.key_file, password=lambda: "")
    except (ssl.SSLError, OSError) as exc:
        raise ConfigError(
            f"TLS cert_file {options.cert_file} and key_file {options.key_file} are no pair of PEM certificate"
            f" and unencrypted key: {exc}"
        ) from exc


def _require_readable(key: str, file: Path | None) -> None:
    if file is None:
        return
    try:
        with file.open("rb"):
            pass
    except OSError as exc:
        raise ConfigError(f"TLS {key} {file}: {exc.strerror}") from exc


def describe_tls_failure(exc: ssl.SSLError, options: MqttOptions) -> tuple[str, str]:
    """What went wrong and the remedy; for a certificate with another name, both names.

    In that case it connects once more to read the certificate; it sends nothing beyond the handshake.
    """
    if isinstance(exc, ssl.SSLCertVerificationError):
        if exc.verify_code in _NAME_MISMATCH:
            names = certificate_names(options)
            shown = ", ".join(names) if names else "another name"
            return (
                f"broker {options.address}: its certificate is for {shown}, not for {options.host}",
                "connect to a name in the certificate",
            )
        return (
            f"broker {options.address}: its certificate is not accepted: {exc.verify_message}",
            "check ca_file, the certificate's dates and this machine's clock",
        )
    reason = exc.reason or str(exc)
    if reason == "WRONG_VERSION_NUMBER" or "EOF" in reason:
        usual = 443 if options.transport == WEBSOCKETS else 8883
        return f"broker {options.address} does not speak TLS on this port", f"use its TLS port, often {usual}"
    if "NO_APPLICATION_PROTOCOL" in reason and options.tls is not None:
        offered = ", ".join(options.tls.alpn) or "none"
        return f"broker {options.address} takes no protocol of those offered: {offered}", "check [mqtt] alpn"
    if "ALERT" in reason:
        return (
            f"broker {options.address} refused this client in the TLS handshake: {reason.lower().replace('_', ' ')}",
            "check cert_file and key_file",
        )
    return f"broker {options.address}: TLS handshake failed: {reason}", "check the broker's TLS settings"


def certificate_names(options: MqttOptions) -> list[str]:
    """The names in the broker's certificate; empty where it cannot be read."""
    if options.tls is None:
        return []
    context = _trusting(options.tls)
    context.check_hostname = False  # the chain is still verified, else Python does not parse the certificate
    _load_client_certificate(context, options.tls)
    with (
        contextlib.suppress(OSError),
        socket.create_connection((options.host, options.port), timeout=options.connect_timeout_s) as plain,
        context.wrap_socket(plain) as wrapped,
    ):
        return _names(wrapped.getpeercert() or {})
    return []


def _names(certificate: Mapping[str, object]) -> list[str]:
    alternatives = certificate.get("subjectAltName", ())
    names = [str(value) for _, value in alternatives] if isinstance(alternatives, tuple) else []
    if names:
        return names
    subject = certificate.get("subject", ())
    if not isinstance(subject, tuple):
        return []
    return [str(value) for group in subject for key, value in group if key == "commonName"]
