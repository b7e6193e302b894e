"""`make dist`: the same bytes twice, all that is needed and nothing else; it runs away from this checkout."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.brokers import Broker
from tests.release.conftest import ROOT, tracked

PACKAGES = ("edged/", "provisioning/", "plugins/")
NOT_AT_RUN_TIME = (".c", ".sh")
LOCKS = ("cpu", "view", "provision", "gpu", "systemd")

pytestmark = pytest.mark.timeout(400)


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def test_two_builds_of_a_commit_are_the_same_bytes(builds: tuple[Path, Path]) -> None:
    one, other = builds
    names = sorted(path.name for path in one.iterdir())
    assert len(names) == 4
    assert names == sorted(path.name for path in other.iterdir())
    assert [name for name in names if (one / name).read_bytes() != (other / name).read_bytes()] == []


def test_wheel_holds_what_runs_and_nothing_else(builds: tuple[Path, Path]) -> None:
    wheel = only(builds[0], "*.whl")
    assert "-cp310-abi3-" in wheel.name
    assert "manylinux" in wheel.name
    held = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    wanted = {name for name in tracked() if name.startswith(PACKAGES) and not name.endswith(NOT_AT_RUN_TIME)}
    assert {name for name in held if ".dist-info/" not in name} == wanted | {"edged/cpu/_native.abi3.so"}


def test_source_distribution_holds_what_git_knows(builds: tuple[Path, Path]) -> None:
    with tarfile.open(only(builds[0], "*.tar.gz")) as archive:
        members = [member for member in archive.getmembers() if member.isfile()]
    held = {member.name.split("/", 1)[1] for member in members}
    made = {name for name in held if name.startswith("edged.egg-info/")} | {"PKG-INFO", "setup.cfg"}
    assert held - made == set(tracked())
    assert {(member.uid, member.gid, member.uname) for member in members} == {(0, 0, "")}


def test_nothing_names_the_place_of_the_build(builds: tuple[Path, Path]) -> None:
    place = str(builds[0].parents[1]).encode()
    with zipfile.ZipFile(only(builds[0], "*.whl")) as wheel:
        contents = {name: wheel.read(name) for name in wheel.namelist()}
    contents |= {path.name: path.read_bytes() for path in builds[0].glob("*[nt][st]*")}
    assert [name for name, content in contents.items() if place in content or b"/tmp/tmp." in content] == []


def test_bill_names_every_package_of_the_locks(builds: tuple[Path, Path]) -> None:
    bill = json.loads(only(builds[0], "*.cdx.json").read_text())
    assert "serialNumber" not in bill
    assert "timestamp" not in bill["metadata"]
    there = {(normal(part["name"]), part["version"]) for part in bill["components"]}
    wanted = {
        (normal(pin.name), str(pin.specifier).removeprefix("=="))
        for lock in LOCKS
        for pin in pins(lock)
        if pin.marker is None or pin.marker.evaluate()
    }
    assert there == wanted
    licences = only(builds[0], "*-licences.txt").read_text()
    assert [
        name for name, version in wanted if not re.search(rf"(?im)^ {spelt(name)} +{re.escape(version)} +\w", licences)
    ] == []
    assert not re.search(r"(?m)^ .*\bUNKNOWN\b", licences)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def spelt(name: str) -> str:
    return name.replace("-", "[-_.]")


def pins(lock: str) -> list[Requirement]:
    text = (ROOT / "systemd" / "lock" / f"{lock}.txt").read_text().replace("\\\n", " ")
    return [Requirement(line.split(" --hash")[0]) for line in text.splitlines() if line and not line.startswith("#")]


def test_wheel_runs_in_a_fresh_environment(
    builds: tuple[Path, Path], tools: Path, tmp_path: Path, broker: Broker
) -> None:
    wheel, python, edged = only(builds[0], "*.whl"), str(tmp_path / "env/bin/python"), str(tmp_path / "env/bin/edged")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"HOME": str(tmp_path)}

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    uv, lock = [str(tools / "bin/uv"), "--quiet", "--no-config"], str(ROOT / "systemd/lock/cpu.txt")
    run(*uv, "venv", "--python", sys.executable, "env")
    run(*uv, "pip", "install", "--python", python, "--require-hashes", "--requirement", lock)
    run(*uv, "pip", "install", "--python", python, "--offline", f"{wheel}[cpu]")
    assert run(edged, "--version").split() == ["edged", wheel.name.split("-")[1]]
    assert "came; there now" in run(edged, "demo", "--frames", "20")
    assert run(python, "-c", "from edged.cpu import native; print(bool(native.library()))") == "True\n"
    (demo,) = tmp_path.glob("env/lib/*/site-packages/edged/demo")
    (tmp_path / "edged.toml").write_text(
        f'[model]\nbundle = "{demo}/person"\n[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\n'
        '[[camera]]\nname = "gate"\nsource = "test:"\n'
    )
    assert "gate" in run(edged, "check", "--config", "edged.toml")


def test_outside_of_a_repository_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    done = subprocess.run(
        ["sh", str(ROOT / "release/dist.sh"), ".", "dist"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "dist: needs a clone of the repository with a commit in it\n")
