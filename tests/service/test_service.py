"""The service on a real systemd: installed from wheels, started, watched, reloaded, stopped, taken away."""

from __future__ import annotations

import json
import re
import time
from base64 import b64encode
from functools import partial
from urllib.parse import quote

import pytest

from tests.service.device import CAMERA, CONFIG, CREDENTIAL, PASSWORD, SETTINGS, Device

OF_CAMERA = "only the c@mera/knows"
FORMS_OF_CAMERA = (
    OF_CAMERA,
    quote(OF_CAMERA, safe=""),
    quote(OF_CAMERA),
    b64encode(f"viewer:{OF_CAMERA}".encode()).decode(),
)
HTTP_CAMERA = """
import http.server, time
from pathlib import Path

picture = Path("/srv/fixtures/street.jpg").read_bytes()
expected = "Basic " + Path("/srv/expected").read_text()


class Camera(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/v.mjpg" or self.headers["Authorization"] != expected:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=b")
        self.end_headers()
        while True:
            self.wfile.write(b"--b\\r\\nContent-Type: image/jpeg\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(picture))
            self.wfile.write(picture + b"\\r\\n")
            time.sleep(0.1)

    def log_message(self, *arguments):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Camera).serve_forever()
"""

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(400)]


def test_install_gives_every_file_its_owner_and_mode(device: Device) -> None:
    places = {
        "/var/lib/edged": "750 edged edged",
        "/var/lib/edged/models": "750 edged edged",
        "/etc/edged": "750 root edged",
        "/etc/edged/credentials": "700 root root",
        CONFIG: "640 root edged",
    }
    for place, expected in places.items():
        assert device.guest.run("stat", "-c", "%a %U %G", place).stdout.strip() == expected, place
    assert device.guest.run("/usr/local/bin/edged", "--version").stdout.startswith("edged ")
    written_by_others = device.guest.run("find", "/opt/edged", "-perm", "/022", "!", "-type", "l").stdout
    assert not written_by_others
    verified = device.guest.run("systemd-analyze", "verify", "edged.service", "edged-provision.service")
    assert not verified.stderr


def test_exposure_is_at_most_2_with_gpu_and_cameras_allowed(device: Device) -> None:
    judged = device.guest.run("systemd-analyze", "security", "edged").stdout
    found = re.search(r"exposure level for edged\.service: ([\d.]+)", judged)
    assert found is not None
    assert float(found[1]) <= 2.0
    allowed = device.guest.run("systemctl", "cat", "edged").stdout
    assert "DeviceAllow=char-nvidia* rw" in allowed and "DeviceAllow=char-video4linux rw" in allowed


def test_start_is_ready_says_its_status_and_is_heard(device: Device) -> None:
    device.start()
    assert device.show("ActiveState") == "active"
    device.wait(lambda: "broker connected" in device.show("StatusText"), timeout_s=10, what="status")
    assert re.fullmatch(r"1 of 1 cameras, [\d.]+ frames/s, broker connected, 0 on the feed", device.show("StatusText"))
    messages = device.messages("edged/box/gate/detections", 5)
    assert {found["label"] for message in messages for found in message["detections"]} == {"red", "blue"}
    assert device.retained("edged/box/status") == "online"


def test_password_comes_as_a_credential_and_shows_nowhere(device: Device) -> None:
    device.start()
    device.messages("edged/box/gate/detections", 3)
    assert PASSWORD not in device.guest.run("systemctl", "show", "edged").stdout
    for name in ("cmdline", "environ"):
        assert PASSWORD not in device.guest.run("cat", f"/proc/{device.pid}/{name}").stdout
    assert PASSWORD not in device.guest.journal()
    said = device.guest.run(*device.subscribe("#", "-W", "3", "-v"), check=False).stdout
    assert "edged/box/stats" in said and "edged/box/info" in said
    assert PASSWORD not in said
    assert device.guest.run("stat", "-c", "%a %U", CREDENTIAL).stdout.strip() == "600 root"


def test_password_of_a_camera_comes_as_a_credential_and_shows_nowhere(device: Device) -> None:
    """A camera over HTTP that gives its picture to this password alone; the unit as its comments say to change it."""
    credential = "/etc/edged/credentials/camera-door-password"
    drop_in = "/etc/systemd/system/edged.service.d/door.conf"
    guest = device.guest
    guest.write("/srv/camera.py", HTTP_CAMERA)
    guest.write("/srv/expected", b64encode(f"viewer:{OF_CAMERA}".encode()).decode())
    guest.run("systemd-run", "--unit=camera", "python3", "/srv/camera.py")
    guest.write(credential, OF_CAMERA + "\n", mode=0o600)
    guest.write(drop_in, f"[Service]\nLoadCredential=camera-door-password:{credential}\n")
    guest.run("systemctl", "daemon-reload")
    door = '[[camera]]\nname = "door"\nsource = "http://127.0.0.1:8080/{path}"\nusername = "viewer"\n'
    text = (
        SETTINGS
        + CAMERA.format(name="gate")
        + door.format(path="v.mjpg")
        + door.replace("door", "lost").format(path="x")
    )
    try:
        device.start(text)
        found = device.messages("edged/box/door/detections", 3)
        assert {thing["label"] for message in found for thing in message["detections"]} == {"red", "blue"}
        device.wait(lambda: "401" in device.retained("edged/box/lost/health"), timeout_s=20, what="the refused camera")
        guest.run("systemctl", "reload", "edged")
        assert device.messages("edged/box/door/detections", 1)
        said = {
            "status": guest.run("systemctl", "status", "--full", "--lines=1000", "edged").stdout,
            "show": guest.run("systemctl", "show", "edged").stdout + guest.run("systemctl", "cat", "edged").stdout,
            "journal": guest.journal(),
            "processes": guest.run(
                "sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ /proc/[0-9]*/comm 2>&-"
            ).stdout,
            "retained": guest.run(*device.subscribe("#", "-W", "2", "-v", "--retained-only"), check=False).stdout,
        }
    finally:
        guest.run("systemctl", "stop", "edged", "camera", check=False)
        guest.run("rm", "-f", drop_in, credential)
        guest.run("systemctl", "daemon-reload")
    held = {place for place, text in said.items() for form in FORMS_OF_CAMERA if form in text}
    assert not held
    assert "edged:door" in said["processes"] and "edged/box/door/health" in said["retained"]
    assert "camera door: online" in said["status"] and "camera door: online" in said["journal"]
    assert "camera-door-password" in said["show"]


def test_reload_adds_a_camera_and_a_bad_file_changes_nothing(device: Device) -> None:
    device.start()
    pid = device.pid
    device.configure("gate", "yard")
    device.guest.run("systemctl", "reload", "edged")
    device.wait(lambda: "2 of 2 cameras" in device.show("StatusText"), timeout_s=15, what="the second camera")
    device.configure(text="[mqtt\n")
    since = device.now()
    device.guest.run("systemctl", "reload", "edged")
    refused = device.guest.journal("-u", "edged", "ERROR_CODE=78", since=since)
    assert "reload refused, the old configuration stays" in refused
    assert device.messages("edged/box/yard/detections", 2)
    assert device.pid == pid


def test_journal_is_selected_by_camera(device: Device) -> None:
    since = device.now()
    device.start()
    device.wait(
        lambda: "camera gate: online" in device.guest.journal("-u", "edged", "CAMERA=gate", since=since),
        timeout_s=10,
        what="an entry with CAMERA=gate",
    )


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        pytest.param("configuration", 78, id="configuration"),
        pytest.param("bundle", 65, id="bundle"),
    ],
)
def test_what_a_restart_cannot_mend_is_not_restarted(device: Device, spoil: str, code: int) -> None:
    device.guest.run("systemctl", "stop", "edged", check=False)
    device.configure(text=SETTINGS + CAMERA.format(name="gate") + "colour = 1\n" * (spoil == "configuration"))
    manifest = "/var/lib/edged/models/active/manifest.json"
    if spoil == "bundle":
        device.guest.run("sh", "-c", f"cp {manifest} /tmp/manifest && echo {{ > {manifest}")
    try:
        assert device.guest.run("systemctl", "start", "edged", check=False).returncode != 0
        time.sleep(6)  # RestartSec has passed
        assert device.show("ActiveState") == "failed"
        assert (device.show("ExecMainStatus"), device.show("NRestarts")) == (str(code), "0")
        assert f'"ERROR_CODE":"{code}"' in device.guest.journal("-u", "edged", f"ERROR_CODE={code}")
        assert "Traceback" not in device.words()
    finally:
        if spoil == "bundle":
            device.guest.run("sh", "-c", f"cat /tmp/manifest > {manifest}")


def test_frozen_daemon_is_killed_by_the_watchdog_and_replaced(device: Device) -> None:
    device.start()
    first = device.pid
    began = time.monotonic()
    device.guest.run("kill", "-STOP", str(first))
    device.wait(lambda: device.pid not in (0, first), timeout_s=30, what="a new process")
    killed_s = time.monotonic() - began
    device.wait(lambda: device.show("ActiveState") == "active", timeout_s=30, what="active again")
    assert device.messages("edged/box/gate/detections", 1)
    print(f"watchdog: new process after {killed_s:.1f} s, detections after {time.monotonic() - began:.1f} s")  # noqa: T201
    assert "watchdog" in device.guest.journal("-u", "edged").lower()
    assert killed_s < 18  # WatchdogSec + RestartSec and some


def test_killed_daemon_says_offline_by_its_will_and_is_replaced(device: Device) -> None:
    device.start()
    first = device.pid
    with device.listen("edged/box/status", count=3) as listener:
        time.sleep(1)
        device.guest.run("kill", "-KILL", str(first))
        heard = [line.split() for line in listener.communicate(timeout=90)[0].splitlines()]
    assert [word for _, word in heard] == ["online", "offline", "online"]
    print(f"SIGKILL: online again after {float(heard[2][0]) - float(heard[1][0]):.1f} s")  # noqa: T201


def restarted(device: Device, times: int) -> bool:
    return int(device.show("NRestarts")) == times


def test_crash_loop_never_ends_in_failed(device: Device) -> None:
    device.start()
    for restarts in range(1, 8):  # the usual limit of systemd is five in ten seconds
        device.guest.run("kill", "-KILL", str(device.pid))
        device.wait(partial(restarted, device, restarts), timeout_s=20, what=f"restart {restarts}")
        device.wait(lambda: device.pid, timeout_s=20, what="a process")
    device.wait(lambda: device.show("ActiveState") == "active", timeout_s=30, what="active")


def test_stop_is_quick_and_says_offline(device: Device) -> None:
    device.start()
    device.messages("edged/box/gate/detections", 2)
    began = time.monotonic()
    device.guest.run("systemctl", "stop", "edged")
    took_s = time.monotonic() - began
    print(f"stop: {took_s:.2f} s")  # noqa: T201
    assert took_s < 5
    assert device.retained("edged/box/status") == "offline"
    assert (device.show("Result"), device.show("ExecMainStatus")) == ("success", "0")


def test_provisioning_runs_before_only_where_there_is_no_model(device: Device) -> None:
    device.start()
    assert device.guest.show("edged-provision", "ConditionResult") == "no"
    device.guest.run("systemctl", "stop", "edged")
    device.guest.run("mv", "/var/lib/edged/models/active", "/tmp/active")
    try:
        device.guest.run("systemctl", "start", "edged", check=False)
        assert device.guest.show("edged-provision", "ConditionResult") == "yes"
        first, then = (
            int(device.guest.show(unit, "ExecMainStartTimestampMonotonic")) for unit in ("edged-provision", "edged")
        )
        assert 0 < first < then
    finally:
        device.guest.run("mv", "/tmp/active", "/var/lib/edged/models/active")


def test_memory_of_a_camera_killed_by_the_kernel_does_not_end_the_unit(device: Device) -> None:
    device.start()
    pid = device.pid
    child = device.guest.run("pgrep", "-f", "-x", "edged:gate", check=False).stdout.split()
    child = child or device.guest.run("pgrep", "-x", "edged:gate").stdout.split()
    device.guest.run("kill", "-KILL", child[0])
    device.wait(
        lambda: json.loads(device.retained("edged/box/gate/health"))["reconnects"] == 1, timeout_s=20, what="back"
    )
    assert device.pid == pid


def test_second_install_upgrades_and_keeps_an_edited_configuration(device: Device) -> None:
    device.start()
    first = device.pid
    device.configure("gate", "yard")
    edited = device.guest.run("cat", CONFIG).stdout
    before = device.guest.run("readlink", "/opt/edged/bin").stdout
    device.install()
    assert device.guest.run("readlink", "/opt/edged/bin").stdout != before
    assert device.guest.run("cat", CONFIG).stdout == edited
    assert len(device.guest.run("sh", "-c", "ls -d /opt/edged/env-*").stdout.split()) == 1
    assert device.pid not in (0, first)
    assert device.messages("edged/box/yard/detections", 1)


def test_uninstall_takes_the_program_and_leaves_what_people_made(device: Device) -> None:
    device.start()
    device.guest.run("make", "-C", "/srv/project", "uninstall")
    try:
        gone = ["/opt/edged", "/usr/local/bin/edged", "/usr/local/lib/systemd/system/edged.service"]
        for place in gone:
            assert device.guest.run("test", "-e", place, check=False).returncode != 0, place
        for place in (CONFIG, "/var/lib/edged/models/active", CREDENTIAL):
            device.guest.run("test", "-e", place)
        assert device.guest.show("edged", "LoadState") == "not-found"
        assert device.retained("edged/box/status") == "offline"
    finally:
        device.install()
