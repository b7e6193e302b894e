"""Tests on 64-bit ARM, in user-mode emulation: `python -m tests.arm [TEST ...]`.

Needs root, qemu-user-static, debootstrap, pip and a network. A Debian of that architecture, with its own compiler, is
made in EDGED_TEST_ARM (/var/tmp/edged-arm) once, edged is installed in it as on a device, and the tests of its parts
run there. What it proves is the arithmetic, not the speed. The first run takes some ten minutes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.service.guest import enter, mirror

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = Path(__file__).parents[2]
ROOT = Path(os.environ.get("EDGED_TEST_ARM", "/var/tmp/edged-arm"))
PACKAGES = "python3,python3-dev,python3-venv,g++,libc6-dev"
TESTS = ("tests/core", "tests/config", "tests/cpu", "tests/gpu")
MARKS = "not slow and not gpu and not systemd"
PYTHON = "3.11"  # of Debian 12
PLATFORMS = ("manylinux2014_aarch64", *(f"manylinux_2_{minor}_aarch64" for minor in (17, 26, 27, 28, 34)))
BINFMT = Path("/proc/sys/fs/binfmt_misc")
FORMAT = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")
# The kernel's own shows the real processor, at which ONNX Runtime's reader of it crashes.
CPUINFO = (
    "processor\t: {}\nFeatures\t: fp asimd crc32\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd08\n\n"
)
DEVICES = 'mount --bind "$0/srv/cpuinfo" "$0/proc/cpuinfo"; mount --rbind /dev "$0/dev"'
ENVIRONMENT = ("HOME=/root", "LANG=C.UTF-8", "PATH=/srv/venv/bin:/usr/sbin:/usr/bin:/sbin:/bin")


def main(arguments: Sequence[str] | None = None) -> int:
    """Pytest's exit code, run on ARM."""
    parser = argparse.ArgumentParser(prog="python -m tests.arm", description=__doc__)
    parser.add_argument("tests", nargs="*", default=TESTS, metavar="TEST")
    chosen = parser.parse_args(arguments)
    if os.geteuid() or not FORMAT.exists() or shutil.which("debootstrap") is None:
        sys.exit("this needs root, and: apt-get install qemu-user-static debootstrap")
    _register()
    _build()
    _install()
    command = ("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", "600", "-m", MARKS)
    return _inside("sh", "-c", 'cd /srv/edged && exec "$@"', "sh", *command, *chosen.tests).returncode


def _register() -> None:
    """Let the kernel hand ARM's programs to the emulator."""
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)], check=True)
    if not (BINFMT / "qemu-aarch64").exists():
        line = next(line for line in FORMAT.read_text("latin-1").splitlines() if line.startswith(":"))
        (BINFMT / "register").write_text(line, "latin-1")


def _build() -> None:
    if (ROOT / "ready").exists():
        return
    print("making a Debian for arm64 ...", flush=True)
    shutil.rmtree(ROOT, ignore_errors=True)
    command = ["debootstrap", "--arch=arm64", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(ROOT)]
    subprocess.run([*command, *mirror()], check=True, stdout=subprocess.DEVNULL)
    cpus = range(len(os.sched_getaffinity(0)))
    (ROOT / "srv/cpuinfo").write_text("".join(map(CPUINFO.format, cpus)))
    topology = ROOT / "sys/devices/system/cpu"
    topology.mkdir(parents=True)
    for name in ("possible", "present"):
        (topology / name).write_text(f"0-{cpus[-1]}\n" if cpus[-1] else "0\n")
    (ROOT / "ready").touch()


def _install() -> None:
    """What pyproject.toml asks for, from wheels fetched here, and the working tree, built by the compiler there."""
    print("installing ...", flush=True)
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["cpu"], *extras["test"], "setuptools>=77", "wheel"]
    platforms = [f"--platform={platform}" for platform in PLATFORMS]
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", f"--python-version={PYTHON}",
         *platforms, f"--dest={ROOT / 'srv/wheels'}", *wanted],
        check=True,
    )  # fmt: skip
    shutil.rmtree(ROOT / "srv/edged", ignore_errors=True)
    left_out = shutil.ignore_patterns(".*", "build", "runs", "__pycache__", "*.so", "*.egg-info")
    shutil.copytree(PROJECT, ROOT / "srv/edged", ignore=left_out)
    pip = ("pip", "install", "--quiet", "--no-index", "--find-links=/srv/wheels")
    for command in (
        ("python3", "-m", "venv", "/srv/venv"),
        (*pip, *wanted),
        (*pip, "--no-build-isolation", "--no-deps", "--editable", "/srv/edged"),
    ):
        if _inside(*command).returncode:
            sys.exit(f"{' '.join(command[:3])} failed")


def _inside(*command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(enter(ROOT, "/usr/bin/env", "-i", *ENVIRONMENT, *command, first=DEVICES), check=False)


if __name__ == "__main__":
    sys.exit(main())
