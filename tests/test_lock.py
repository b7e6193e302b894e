"""The locks of `make install` and `make dev` hold what pyproject.toml asks for, the service's each file by hash."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
EXTRAS = ("cpu", "view", "provision", "gpu", "systemd", "rtx", "rtx-cu12")
LOCKS = {extra: ROOT / "systemd" / "lock" / f"{extra}.txt" for extra in EXTRAS} | {"dev": ROOT / "tests" / "lock.txt"}
DEV_EXTRAS = ("cpu", "provision", "train", "demo", "view", "dev", "test", "gpu-test", "systemd")


def locked(lock: str) -> list[tuple[Requirement, int]]:
    """What a lock pins, and by how many hashes."""
    text = LOCKS[lock].read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(Requirement(line.split(" --hash")[0].strip()), line.count("--hash=sha256:")) for line in lines]


def applies(requirement: Requirement, python: str) -> bool:
    environment = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": "linux"}
    return requirement.marker is None or requirement.marker.evaluate(environment)


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(
    ("lock", "extra"), [(extra, extra) for extra in EXTRAS] + [("dev", extra) for extra in DEV_EXTRAS]
)
def test_lock_is_current(lock: str, extra: str, python: str) -> None:
    pins = {pin.name.lower(): str(pin.specifier).removeprefix("==") for pin, _ in locked(lock) if applies(pin, python)}
    wanted = [Requirement(text) for text in PROJECT["dependencies"] + PROJECT["optional-dependencies"][extra]]
    for requirement in wanted:
        if applies(requirement, python) and requirement.name != PROJECT["name"]:
            version = pins.get(requirement.name.lower())
            assert version and requirement.specifier.contains(version), f"{requirement}: {version}; run: make lock"


@pytest.mark.parametrize("extra", EXTRAS)
def test_lock_pins_one_version_by_hashes(extra: str) -> None:
    for pin, hashes in locked(extra):
        assert re.fullmatch(r"==[^,*]+", str(pin.specifier)), pin
        assert hashes, pin


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(
    "locks",
    [
        ("cpu", "view", "provision", "gpu", "systemd", "rtx"),
        ("cpu", "view", "provision", "systemd", "rtx-cu12"),
        ("cpu", "view", "provision", "systemd", "dev"),
    ],
)
def test_locks_agree(locks: tuple[str, ...], python: str) -> None:
    """Those of the service are installed together; what is tested is what is installed."""
    chosen: dict[str, str] = {}
    for lock in locks:
        for pin, _ in locked(lock):
            if applies(pin, python):
                assert chosen.setdefault(pin.name, str(pin.specifier)) == str(pin.specifier), pin.name
