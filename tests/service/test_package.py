"""The Debian package on a real systemd: installed, upgraded, removed, purged, by tests that follow each other."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.conftest import bootable, write_fixtures
from tests.service.device import CONFIG, CREDENTIAL, Device
from tests.service.guest import Guest

PACKAGES = "/srv/packages"
OLDER, NEWER = f"{PACKAGES}/older.deb", f"{PACKAGES}/newer.deb"
BY_HAND = "/usr/local/lib/systemd/system/edged.service"

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(400), pytest.mark.xdist_group("package")]


def older(deb: Path, folder: Path) -> None:
    """The same package as of an earlier release, beside it."""
    tree = folder / "tree"
    subprocess.run(["dpkg-deb", "-R", str(deb), str(tree)], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: .*$", "Version: 0.0.1", control.read_text()))
    subprocess.run(["dpkg-deb", "-Znone", "-b", str(tree), str(folder / "older.deb")], check=True, capture_output=True)
    subprocess.run(["rm", "-r", str(tree)], check=True)
    os.link(deb, folder / "newer.deb")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    """A clean machine on which the older package is installed, with a broker, a model and a camera; not started."""
    if not (deb := os.environ.get("EDGED_TEST_DEB")):
        pytest.skip("no package to install: make test-deb")
    bootable()
    folder = tmp_path_factory.mktemp("package")
    (folder / "packages").mkdir(mode=0o755)
    older(Path(deb), folder / "packages")
    fixtures = write_fixtures(folder / "fixtures")
    with Guest(folder, binds={PACKAGES: folder / "packages", "/srv/fixtures": fixtures}) as guest:
        box = Device(guest)
        dpkg(box, "--install", OLDER)
        yield box


def dpkg(box: Device, *arguments: str) -> str:
    """Without a terminal, so that a question would be a failure; what it says."""
    done = box.guest.run("sh", "-c", 'dpkg "$@" 2>&1 </dev/null', "sh", *arguments, timeout_s=280)
    return done.stdout


def version(box: Device) -> str:
    return box.guest.run(
        "dpkg-query", "-W", "-f", "${Version} ${db:Status-Abbrev}", "edged", check=False
    ).stdout.strip()


def test_fresh_package_waits_to_be_configured(box: Device) -> None:
    assert version(box) == "0.0.1 ii"
    for unit in ("edged", "edged-view", "edged-provision"):
        assert (box.guest.show(unit, "LoadState"), box.guest.show(unit, "ActiveState")) == ("loaded", "inactive")
        assert box.guest.show(unit, "UnitFileState") in {"disabled", "static"}
    places = {
        "/var/lib/edged": "750 edged edged",
        "/etc/edged": "750 root edged",
        "/etc/edged/credentials": "700 root root",
        CONFIG: "640 root edged",
    }
    for place, expected in places.items():
        assert box.guest.run("stat", "-c", "%a %U %G", place).stdout.strip() == expected, place
    assert box.guest.run("head", "-n1", "/opt/edged/bin/edged").stdout == "#!/opt/edged/bin/python\n"
    assert not box.guest.run("find", "/opt/edged", "-perm", "/022", "!", "-type", "l").stdout
    assert not box.guest.run("systemd-analyze", "verify", "edged.service", "edged-view.service").stderr


def test_configured_it_checks_and_runs(box: Device) -> None:
    box.prepare()
    assert "gate" in box.guest.run("edged", "check").stdout
    box.guest.run("systemctl", "enable", "--now", "edged", "edged-view", timeout_s=60)
    found = box.messages("edged/box/gate/detections", 3)
    assert {thing["label"] for message in found for thing in message["detections"]} == {"red", "blue"}
    assert box.guest.show("edged-view", "ActiveState") == "active"
    assert '"CAMERA":"gate"' in box.guest.journal("-u", "edged", "CAMERA=gate")


def test_upgrade_restarts_and_keeps_what_people_and_the_daemon_made(box: Device) -> None:
    pid, kept = box.pid, "find /var/lib/edged /var/lib/edged-view /etc/edged -type f"
    before, text = set(box.guest.run("sh", "-c", kept).stdout.split()), box.guest.run("cat", CONFIG).stdout
    dpkg(box, "--install", NEWER)
    assert version(box) != "0.0.1 ii"
    assert before <= set(box.guest.run("sh", "-c", kept).stdout.split())
    assert any("outbox" in name for name in before)
    assert box.guest.run("cat", CONFIG).stdout == text
    assert box.guest.run("stat", "-c", "%a %U %G", CONFIG).stdout.strip() == "640 root edged"
    assert box.pid not in (0, pid)
    assert box.messages("edged/box/gate/detections", 1)
    assert box.guest.show("edged-view", "ActiveState") == "active"
    changed = {line.split()[-1] for line in dpkg(box, "--verify", "edged").splitlines()}
    assert changed == {CONFIG}


def test_remove_stops_the_services_and_leaves_what_people_made(box: Device) -> None:
    dpkg(box, "--remove", "edged")
    for unit in ("edged", "edged-view"):
        assert box.guest.show(unit, "ActiveState") == "inactive"
    assert box.retained("edged/box/status") == "offline"
    for place in (CONFIG, CREDENTIAL, "/var/lib/edged/models/active"):
        box.guest.run("test", "-e", place)
    box.guest.run("test", "!", "-e", "/opt/edged")
    dpkg(box, "--install", NEWER)
    box.guest.run("systemctl", "start", "edged", timeout_s=60)
    assert box.messages("edged/box/gate/detections", 1)


def test_purge_leaves_nothing(box: Device) -> None:
    dpkg(box, "--purge", "edged")
    box.guest.run("systemctl", "daemon-reload")
    everywhere = ["find", "/", "-xdev", "-name", "*edged*", "-not", "-path", "/srv/*", "-not", "-path", "/tmp/*"]
    assert box.guest.run(*everywhere).stdout == ""
    assert box.guest.show("edged", "LoadState") == "not-found"
    assert box.guest.run("id", "-u", "edged").stdout.strip().isdigit()


def test_an_installation_by_make_is_not_overlaid(box: Device) -> None:
    box.guest.write(BY_HAND, "[Service]\nExecStart=/bin/true\n")
    done = box.guest.run("sh", "-c", f"dpkg --install {NEWER} 2>&1 </dev/null", check=False, timeout_s=280)
    assert done.returncode == 1
    assert f"edged: {BY_HAND} is of an installation by 'make install'." in done.stdout
    assert "make uninstall" in done.stdout
    box.guest.run("test", "!", "-e", "/opt/edged")
    box.guest.run("rm", BY_HAND)
