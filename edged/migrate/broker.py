"""Frigate's `mqtt` -> `[mqtt]` and what of it stands in `[publish]`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edged.config.schema import Mqtt, Publish
from edged.migrate.reasons import accepted
from edged.migrate.remarks import each_remark
from edged.migrate.sections import Section
from edged.migrate.toml import remark, setting, settings

_FRIGATE_PORT = 1883  # Frigate's default, always; edged's is another with TLS and with WebSockets
_MOST_QOS = 1
_VARIABLE = re.compile(r"\{(FRIGATE_\w+)\}")
_READ = {
    "enabled",
    "host",
    "port",
    "user",
    "password",
    "client_id",
    "topic_prefix",
    "transport",
    "stats_interval",
    "qos",
}
_TLS = {"tls_ca_certs": "ca_file", "tls_client_cert": "cert_file", "tls_client_key": "key_file"}


def mqtt_lines(mqtt: Section) -> Iterator[str]:
    """`[mqtt]`, without passwords."""
    table, remarks = _session(mqtt)
    encryption, more = _encryption(mqtt)
    table |= encryption
    kept, refused = accepted(Mqtt, table)
    if kept.get("tls") is False:
        if Mqtt.model_validate(kept).is_loopback:
            del kept["tls"]
        else:
            more.append(
                "tls: Frigate connects in the clear where it has no tls_ca_certs; better say true, if the broker can"
            )
    yield from ("", "[mqtt]")
    yield from (remark(text) for text in [*remarks, *more])
    yield from (remark(f"{name}: {reason}") for name, reason in refused.items())
    yield from settings(kept)
    yield from _user_lines(mqtt)
    yield from (remark(text) for text in each_remark(mqtt, {}, known={*_READ, *_TLS, "tls_insecure"}))


def _session(mqtt: Section) -> tuple[dict[str, object], list[str]]:
    """What is not of TLS, and remarks on it."""
    table: dict[str, object] = {}
    remarks = []
    if mqtt.flag("enabled") is False:
        remarks.append(
            "Frigate did without MQTT (enabled: false); edged says what it sees over MQTT alone: name a broker"
        )
    if (transport := mqtt.text("transport")) == "websockets":
        table |= {"transport": transport, "port": _FRIGATE_PORT}
    elif transport and transport != "tcp":
        remarks.append('transport: edged knows "tcp" and "websockets": name the broker\'s port for one of them')
    if host := mqtt.text("host"):
        table["host"] = host
    else:
        remarks.append("mqtt.host is not in the file: localhost is meant")
    if (port := mqtt.number("port")) is not None:
        table["port"] = int(port) if port == int(port) else port
    if client := mqtt.text("client_id"):
        table["client_id"] = client
        remarks.append("client_id: two programs of one client_id push each other off the broker: not beside Frigate")
    prefix = mqtt.text("topic_prefix") or "frigate"
    remarks.append(
        "topic_prefix: edged has topics of its own (docs/messages.md), and Frigate's as well where Frigate is off:"
        f' [publish] frigate_prefix = "{prefix}"'
    )
    return table, remarks


def _encryption(mqtt: Section) -> tuple[dict[str, object], list[str]]:
    """Frigate speaks TLS where it has `tls_ca_certs`, and only there."""
    given = {name: mqtt.text(frigate) for frigate, name in _TLS.items() if mqtt.text(frigate)}
    insecure = mqtt.flag("tls_insecure")
    if "ca_file" not in given:
        ignored = [frigate for frigate, name in _TLS.items() if name in given] + (["tls_insecure"] if insecure else [])
        unused = f"{', '.join(ignored)}: left out; Frigate speaks no TLS without tls_ca_certs"
        return {"tls": False}, [unused] if ignored else []
    table: dict[str, object] = {"tls": True, **given}
    remarks = ["tls: the files are named as in Frigate's container: put them there, or write where they are"]
    if ("cert_file" in given) != ("key_file" in given):
        del table["cert_file" if "cert_file" in given else "key_file"]
        remarks.append("tls_client_cert and tls_client_key go together; Frigate ignores one without the other")
    if mqtt.number("port") is None:
        table["port"] = _FRIGATE_PORT
        remarks.append("port: Frigate's default; edged's is another with TLS")
    if insecure:
        table["insecure"] = True
        remarks.append(
            "insecure: Frigate left out the check of the broker's name alone; edged accepts any certificate then"
        )
    return table, remarks


def _user_lines(mqtt: Section) -> Iterator[str]:
    user, password = mqtt.text("user"), mqtt.text("password")
    if variable := _VARIABLE.search(user):
        yield remark(f"username: Frigate has it in {variable[1]}; write it here, or set EDGED_MQTT__USERNAME")
    elif user:
        kept, refused = accepted(Mqtt, {"username": user})
        yield from settings(kept)
        yield from (remark(f"{name}: {reason}") for name, reason in refused.items())
    if password:
        variable = _VARIABLE.search(password)
        where = f"Frigate has it in {variable[1]}" if variable else "it is not copied"
        yield remark(
            f"password: {where}; give it as the systemd credential mqtt-password, as EDGED_MQTT__PASSWORD, or by:"
        )
        yield remark(setting("password_file", "/etc/edged/mqtt-password"))


def publish_lines(mqtt: Section) -> Iterator[str]:
    """`[publish]`, where Frigate's file says something of it."""
    table: dict[str, object] = {}
    remarks = []
    if (qos := mqtt.number("qos")) is not None:
        table["qos"] = int(min(qos, _MOST_QOS)) if qos == int(qos) else qos
        if qos > _MOST_QOS:
            remarks.append(f"qos: edged knows 0 and 1, Frigate had {qos:g}")
    if (interval := mqtt.number("stats_interval")) is not None:
        table["stats_interval_s"] = interval
    if not table:
        return
    kept, refused = accepted(Publish, table)
    yield from ("", "[publish]")
    yield from (remark(text) for text in [*remarks, *(f"{name}: {reason}" for name, reason in refused.items())])
    yield from settings(kept)
