"""A real Home Assistant core as a process of its own, already set up: a user with a token, and the broker."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.brokers import wait_for

START_S = 120.0
_USER, _REFRESH, _KEY = "a" * 32, "b" * 32, "c" * 128
_NOW = "2026-01-01T00:00:00.000000+00:00"


@dataclass
class House:
    """Home Assistant in a folder of its own.

    Args:
        folder: for its configuration and what it stores.
        port: of its web server.
        broker_port: of the broker on loopback.
    """

    folder: Path
    port: int
    broker_port: int
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> House:
        """Start it, and wait until it answers and its MQTT integration is up."""
        if not (self.folder / ".storage").exists():
            self._write()
        command = [str(environment() / "bin" / "hass"), "-c", str(self.folder), "--skip-pip"]
        with (self.folder / "output.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        try:
            wait_for(self._answers, timeout_s=START_S, what="Home Assistant answers")
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """End orderly: it writes down what it knows."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it; safe to call twice."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(number)
            process.wait(60)

    def states(self) -> dict[str, dict[str, Any]]:
        """State and attributes of every entity, by its id."""
        return {each["entity_id"]: each for each in json.loads(self._get("/api/states"))}

    def state(self, entity: str) -> str:
        """The state of one entity; empty where there is none."""
        try:
            return str(json.loads(self._get(f"/api/states/{entity}"))["state"])
        except urllib.error.HTTPError:
            return ""

    def shows(self, entity: str, state: str, *, timeout_s: float = 20.0) -> None:
        """Wait until an entity has this state."""
        try:
            wait_for(lambda: self.state(entity) == state, timeout_s=timeout_s)
        except AssertionError:
            raise AssertionError(f"{entity} is {self.state(entity)!r}, not {state!r}\n{self.complaints()}") from None

    def picture(self, entity: str) -> bytes:
        """What an image entity shows."""
        return self._get(f"/api/image_proxy/{entity}")

    def rename(self, entity: str, *, new: str) -> None:
        """As a person does in its settings."""
        code = (
            "import asyncio, sys, aiohttp\n"
            "async def main(url, token, old, new):\n"
            "    async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:\n"
            "        await ws.receive_json()\n"
            "        await ws.send_json({'type': 'auth', 'access_token': token})\n"
            "        await ws.receive_json()\n"
            "        order = {'type': 'config/entity_registry/update', 'entity_id': old, 'new_entity_id': new}\n"
            "        await ws.send_json({'id': 1, **order})\n"
            "        answer = await ws.receive_json()\n"
            "        sys.exit(0 if answer['success'] else str(answer))\n"
            "asyncio.run(main(*sys.argv[1:]))\n"
        )
        url = f"http://127.0.0.1:{self.port}/api/websocket"
        subprocess.run([environment() / "bin" / "python", "-c", code, url, token(), entity, new], check=True)

    def complaints(self) -> str:
        """Warnings and errors about MQTT that it wrote."""
        lines = (self.folder / "home-assistant.log").read_text(errors="replace").splitlines()
        return "\n".join(each for each in lines if ".mqtt" in each and (" WARNING " in each or " ERROR " in each))

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"Home Assistant ended: {(self.folder / 'output.log').read_text()[-2000:]}")
        try:
            config = json.loads(self._get("/api/config"))
        except (OSError, ValueError):
            return False
        return config["state"] == "RUNNING" and "mqtt" in config["components"]

    def _get(self, path: str) -> bytes:
        headers = {"Authorization": f"Bearer {token()}"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            content: bytes = answer.read()
            return content

    def _write(self) -> None:
        store = self.folder / ".storage"
        store.mkdir(parents=True)
        (self.folder / "configuration.yaml").write_text(
            f"http:\n  server_host: 127.0.0.1\n  server_port: {self.port}\napi:\nconfig:\n"
            "logger:\n  default: warning\n  logs:\n    homeassistant.components.mqtt: info\n"
        )
        _store(store, "onboarding", {"done": ["user", "core_config", "analytics", "integration"]}, version=4)
        _store(store, "auth", _auth())
        _store(store, "core.config_entries", {"entries": [_broker_entry(self.broker_port)]}, minor=5)

    def __enter__(self) -> House:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def environment() -> Path:
    """The virtual environment that Home Assistant is installed in."""
    return Path(os.environ["EDGED_TESTS_HOUSE"]).absolute()


def token() -> str:
    """A long-lived access token: a JSON web token (RFC 7519) signed with the key of `_auth`."""
    now = int(time.time())
    parts = ({"alg": "HS256", "typ": "JWT"}, {"iss": _REFRESH, "iat": now - 60, "exp": now + 86_400})
    signed = ".".join(_base64(json.dumps(part).encode()) for part in parts)
    return f"{signed}.{_base64(hmac.digest(_KEY.encode(), signed.encode(), hashlib.sha256))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _store(folder: Path, key: str, data: dict[str, Any], *, version: int = 1, minor: int = 1) -> None:
    content = {"version": version, "minor_version": minor, "key": key, "data": data}
    (folder / key).write_text(json.dumps(content))


def _auth() -> dict[str, Any]:
    user = {
        "id": _USER,
        "group_ids": ["system-admin"],
        "is_owner": True,
        "is_active": True,
        "name": "tests",
        "system_generated": False,
        "local_only": False,
    }
    refresh = {
        "id": _REFRESH,
        "user_id": _USER,
        "client_id": None,
        "client_name": "tests",
        "client_icon": None,
        "token_type": "long_lived_access_token",
        "created_at": _NOW,
        "access_token_expiration": 86_400.0,
        "token": "d" * 128,
        "jwt_key": _KEY,
        "last_used_at": None,
        "last_used_ip": None,
        "expire_at": None,
        "credential_id": None,
        "version": None,
    }
    groups = [{"id": f"system-{kind}", "name": kind} for kind in ("admin", "users", "read-only")]
    return {"users": [user], "groups": groups, "credentials": [], "refresh_tokens": [refresh]}


def _broker_entry(port: int) -> dict[str, Any]:
    return {
        "created_at": _NOW,
        "modified_at": _NOW,
        "data": {"broker": "127.0.0.1", "port": port},
        "options": {"discovery": True, "discovery_prefix": "homeassistant"},
        "disabled_by": None,
        "discovery_keys": {},
        "domain": "mqtt",
        "entry_id": "e" * 26,
        "version": 1,
        "minor_version": 2,
        "pref_disable_new_entities": False,
        "pref_disable_polling": False,
        "source": "user",
        "subentries": [],
        "title": "broker",
        "unique_id": None,
    }
