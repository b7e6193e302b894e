"""A box whose passwords come from everywhere, a server that repeats what it was sent, and the search for leaks."""

from __future__ import annotations

import base64
import html
import http.server
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

from tests.boxes import Box, write_video
from tests.brokers import free_port

MQTT_PASSWORD = "mqtt pass/word@1"
URL_PASSWORD = "url-passw0rd"
KEY_PASSWORD = "key:p@ss/w0rd"
PATH_PASSWORD = "p4th&Passwort"
FILE_PASSWORD = "file+p%41ss"
CREDENTIAL_PASSWORD = 'credential "p\\ss"'
ENVIRONMENT_PASSWORD = "umgebung-pässwort"
TOKEN = "query-t0ken"
SECRETS = (
    *(MQTT_PASSWORD, URL_PASSWORD, KEY_PASSWORD, PATH_PASSWORD, FILE_PASSWORD, CREDENTIAL_PASSWORD),
    *(ENVIRONMENT_PASSWORD, TOKEN),
)
ROOT = Path(__file__).parents[2]


def forms(secret: str) -> list[bytes]:
    """A secret as it might leak: plain, percent-encoded, escaped, in base64 (as HTTP Basic sends it) and hex."""
    percent = quote(secret, safe="")
    said = [
        secret,
        percent,
        percent.lower(),
        quote(secret),
        quote_plus(secret),
        repr(secret)[1:-1],
        html.escape(secret),
    ]
    said += [
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        secret.encode().hex(),
    ]
    encoded = base64.b64encode(f"joe:{secret}".encode())
    return [*(text.encode() for text in said), encoded, base64.b64encode(secret.encode())]


def leaks(content: bytes) -> list[str]:
    return [secret for secret in SECRETS for form in forms(secret) if form in content]


class Tattler(http.server.BaseHTTPRequestHandler):
    """Repeats what it was sent where FFmpeg quotes it: in redirections, and segments that are not there."""

    def do_GET(self) -> None:
        host = f"http://127.0.0.1:{self.server.server_address[1]}"  # type: ignore[index]
        if self.path.startswith("/live.m3u8"):
            said = self.headers.get("Authorization", "").rpartition(" ")[2]
            lines = [f"{host}/{number}.ts?token={TOKEN}&was={said}&pw={quote(KEY_PASSWORD)}" for number in range(3)]
            body = "\n#EXTINF:1,\n".join(
                ["#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1", *lines, "#EXT-X-ENDLIST"]
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/vnd.apple.mpegurl")
        elif self.path.startswith("/moved"):
            body = b""
            self.send_response(302)
            self.send_header("Location", f"http://joe:{URL_PASSWORD}@127.0.0.1:{free_port()}/elsewhere?{TOKEN}")
        else:
            body = self.headers.get("Authorization", "").encode()
            self.send_response(404, f"{self.path} for {self.headers.get('Authorization')}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def cameras_of(folder: Path, http_port: int) -> dict[str, dict[str, object]]:
    """One for each way by which a password may come and go."""
    dead, alive = f"127.0.0.1:{free_port()}", f"127.0.0.1:{http_port}"
    password_file = folder / "password-of-file"
    password_file.write_text(FILE_PASSWORD + "\n")
    password_file.chmod(0o600)
    (folder / "credentials").mkdir(exist_ok=True)
    (folder / "credentials" / "camera-creds-password").write_text(CREDENTIAL_PASSWORD + "\n")
    return {
        "film": {"source": str(write_video(folder / "a.avi"))},
        "url": {"source": f"rtsp://joe:{URL_PASSWORD}@{dead}/cam?token={TOKEN}"},
        "keys": {"source": f"http://{alive}/cam?key={TOKEN}", "username": "joe", "password": KEY_PASSWORD},
        "playlist": {"source": f"http://{alive}/live.m3u8", "username": "joe", "password": KEY_PASSWORD},
        "moved": {"source": f"http://{alive}/moved?{TOKEN}", "username": "joe", "password": URL_PASSWORD},
        "path": {"source": f"rtsp://{dead}/user=joe_password={PATH_PASSWORD}_channel=1_stream=0.sdp"},
        "cgi": {"source": f"http://{alive}/video.cgi;user=joe;pwd={PATH_PASSWORD};x=1"},
        "filed": {"source": f"http://{alive}/cam", "username": "joe", "password_file": str(password_file)},
        "creds": {"source": f"http://{alive}/cam/{{username}}/{{password}}", "username": "joe"},
        "env": {"source": f"rtsp://{dead}/cam", "username": "joe"},
        "pipe": {"source": f"gst:rtspsrc location=rtsp://{dead}/cam user-id=joe user-pw={URL_PASSWORD}"},
        "bare": {"source": str(folder / f"user=joe&password={PATH_PASSWORD}&x=1")},
    }


@dataclass
class GuardedBox(Box):
    """With credentials for the broker, and for the cameras from everywhere."""

    password: str = MQTT_PASSWORD
    code: Path = ROOT

    def write(self) -> Path:
        path = super().write()
        credentials = f'[mqtt]\nusername = "box"\npassword = {json.dumps(self.password)}'
        path.write_text(path.read_text().replace("[mqtt]", credentials), encoding="utf-8")
        return path

    def environment(self) -> dict[str, str]:
        secret = {"EDGED_CAMERA__ENV__PASSWORD": ENVIRONMENT_PASSWORD, "CREDENTIALS_DIRECTORY": ""}
        return {**os.environ, **secret, "PYTHONPATH": str(self.code)}

    def start(self) -> GuardedBox:
        command = [sys.executable, "-m", "edged", "run", "--config", str(self.write())]
        with (self.folder / "edged.log").open("a") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, text=True, cwd=self.code, env=self.environment()
            )
        return self

    def run(self, *arguments: str) -> tuple[int, str]:
        """A command of `edged`: its exit code, and all that it said."""
        command = [sys.executable, "-m", "edged", *arguments, "--config", str(self.config)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, cwd=self.code, env=self.environment()
        )
        return done.returncode, done.stdout + done.stderr


def box_of(
    folder: Path, port: int, *, http_port: int = 9, password: str = MQTT_PASSWORD, code: Path = ROOT
) -> GuardedBox:
    outbox = json.dumps(str(folder / "outbox"))
    publish = f"durable = true\noutbox = {outbox}\nstats_interval_s = 0.3\nhome_assistant = true"
    extra = f'[log]\nlevel = "debug"\n[publish]\n{publish}'
    box = GuardedBox(folder, port, cameras=cameras_of(folder, http_port), extra=extra, password=password, code=code)
    box.write()
    return box
