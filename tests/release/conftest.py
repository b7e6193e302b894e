"""Two builds of one commit by `make dist`, in folders, time zones and modes of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMITTED = "2026-01-02T03:04:06+00:00"
WHO = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
DATES = {"GIT_AUTHOR_DATE": COMMITTED, "GIT_COMMITTER_DATE": COMMITTED}


def tracked() -> list[str]:
    """The files of this checkout, with those that are new and not ignored."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [name for name in names if (ROOT / name).exists()]


def committed(folder: Path, *, umask: int) -> Path:
    """A repository with this checkout as its only commit."""
    before = os.umask(umask)
    try:
        for name in tracked():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        for command in (["init", "--quiet"], ["add", "--all", "--force"], ["commit", "--quiet", "--message=all"]):
            subprocess.run(["git", *command], cwd=folder, check=True, env={**os.environ, **WHO, **DATES})
    finally:
        os.umask(before)
    return folder


@pytest.fixture(scope="session")
def tools() -> Path:
    """The environment with the locked tools."""
    if not (place := os.environ.get("EDGED_TESTS_DIST")):
        pytest.skip("builds packages with tools from a package index: make test-dist")
    return Path(place)


@pytest.fixture(scope="session")
def builds(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What two builds wrote."""
    outs = []
    for number, (umask, zone) in enumerate([(0o022, "UTC"), (0o077, "Pacific/Auckland")]):
        tree = committed(tmp_path_factory.mktemp("builder") / f"tree-{number}", umask=umask)
        environment = {**os.environ, "TZ": zone, "PYTHONHASHSEED": str(number)}
        for script in ("dist.sh", "bill.sh"):
            subprocess.run(
                ["sh", f"release/{script}", str(tools), "dist"], cwd=tree, check=True, env=environment, umask=umask
            )
        outs.append(tree / "dist")
    return outs[0], outs[1]
