"""The page's service on a real systemd, beside the daemon's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.service.device import Device

TOKEN = "only-who-may-look-knows"
CREDENTIAL = "/etc/edged/credentials/view-token"
VIEW_TOML = "/etc/edged/view.toml"
ASK = """
import sys, urllib.request, urllib.error
request = urllib.request.Request("http://127.0.0.1:8710" + sys.argv[1])
if sys.argv[2]:
    request.add_header("Authorization", "Bearer " + sys.argv[2])
try:
    answer = urllib.request.urlopen(request, timeout=20)
except urllib.error.HTTPError as error:
    answer = error
except OSError as error:
    print(0, error)
    sys.exit()
print(answer.status, answer.read().decode(errors="replace"))
"""

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(400)]


def ask(device: Device, path: str, *, token: str = "") -> tuple[int, str]:
    """Status, 0 where nobody answers, and body."""
    said = device.guest.run("/opt/edged/bin/python", "-c", ASK, path, token).stdout
    status, _, body = said.partition(" ")
    return int(status), body


@pytest.fixture
def page(device: Device) -> Iterator[Device]:
    """The daemon and the page at work."""
    device.start()
    device.guest.run("systemctl", "restart", "edged-view", timeout_s=60)
    device.wait(lambda: ask(device, "/readyz")[0] == 200, timeout_s=20, what="the page is ready")
    yield device
    device.guest.run("sh", "-c", f"rm -f {VIEW_TOML} {CREDENTIAL}; systemctl stop edged-view")
    device.guest.run("systemctl", "reset-failed", "edged-view", check=False)


def test_it_is_off_until_somebody_wants_it(device: Device) -> None:
    assert device.guest.run("systemctl", "is-enabled", "edged-view", check=False).stdout.strip() == "disabled"
    assert device.guest.show("edged-view", "ActiveState") == "inactive"
    assert not device.guest.run("systemd-analyze", "verify", "edged-view.service").stderr


def test_exposure_is_at_most_one_and_a_half(device: Device) -> None:
    judged = device.guest.run("systemd-analyze", "security", "edged-view").stdout
    found = re.search(r"exposure level for edged-view\.service: ([\d.]+)", judged)
    assert found is not None
    assert float(found[1]) <= 1.5


def test_it_shows_what_the_daemon_sees_as_a_user_of_its_own(page: Device) -> None:
    page.wait(lambda: json.loads(ask(page, "/api/now")[1])["states"].get("gate"), timeout_s=20, what="the camera")
    now = json.loads(ask(page, "/api/now")[1])
    assert (now["connected"], now["device"], now["states"]["gate"]["state"]) == (True, "box", "online")
    assert re.search(r'(?m)^edged_camera_up\{camera="gate"\} 1', ask(page, "/metrics")[1])
    status, picture = ask(page, "/api/cameras/gate/picture.jpg")
    assert (status, "JFIF" in picture[:20]) == (200, True)
    process = page.guest.show("edged-view", "MainPID")
    said = page.guest.run("ps", "-o", "user:20=,ni=", "-p", process).stdout.split()
    assert said == ["edged-view", "19"]
    assert "http://127.0.0.1:8710/" in page.guest.show("edged-view", "StatusText")


def test_whatever_happens_to_it_detection_goes_on(page: Device) -> None:
    daemon = page.pid
    page.guest.run("systemctl", "kill", "--signal=KILL", "edged-view")
    page.messages("edged/box/gate/detections", 3)
    page.wait(lambda: ask(page, "/readyz")[0] == 200, timeout_s=20, what="the page is back")
    assert page.pid == daemon
    assert page.show("NRestarts") == "0"


def test_it_waits_for_a_daemon_that_is_away(page: Device) -> None:
    page.guest.run("systemctl", "stop", "edged")
    page.wait(lambda: ask(page, "/readyz")[0] == 503, timeout_s=20, what="the page knows that the daemon is away")
    assert ask(page, "/healthz") == (200, "alive\n\n")
    page.guest.run("systemctl", "start", "edged", timeout_s=60)
    page.wait(lambda: ask(page, "/readyz")[0] == 200, timeout_s=20, what="the page found the daemon")


def test_the_token_comes_as_a_credential_and_shows_nowhere(page: Device) -> None:
    page.guest.write(CREDENTIAL, TOKEN + "\n", mode=0o600)
    page.guest.run("systemctl", "restart", "edged-view", timeout_s=60)
    assert ask(page, "/healthz")[0] == 200
    assert ask(page, "/api/now")[0] == 401
    assert ask(page, "/api/now", token="another-token-than-that")[0] == 401
    assert ask(page, "/api/now", token=TOKEN)[0] == 200
    process = page.guest.show("edged-view", "MainPID")
    shown = page.guest.run("sh", "-c", f"cat /proc/{process}/cmdline /proc/{process}/environ").stdout
    for said in (shown, page.guest.run("systemctl", "show", "edged-view").stdout, page.guest.journal()):
        assert TOKEN not in said


def test_a_wrong_file_is_said_once_and_not_tried_again(page: Device) -> None:
    page.guest.write(VIEW_TOML, '[listen]\naddress = "0.0.0.0"\n')
    page.guest.run("systemctl", "restart", "edged-view", check=False, timeout_s=60)
    page.wait(lambda: page.guest.show("edged-view", "ActiveState") == "failed", timeout_s=20, what="the end")
    assert page.guest.show("edged-view", "ExecMainStatus") == "78"
    assert page.guest.show("edged-view", "NRestarts") == "0"
    assert "is reached from other machines: give a token" in page.guest.journal("-u", "edged-view")
    assert page.messages("edged/box/gate/detections", 1)
