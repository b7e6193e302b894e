"""`edged migrate frigate` as people type it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edged.config import load_settings
from tests.boxes import run_edged
from tests.migrate.migrated import MINIMAL, frigate_file


def test_it_prints_an_edged_toml(tmp_path: Path) -> None:
    done = run_edged("migrate", "frigate", frigate_file(tmp_path, MINIMAL.replace("gate:", "Gäte:")))
    assert (done.returncode, done.stderr) == (0, "")
    config = tmp_path / "edged.toml"
    config.write_text(done.stdout)
    assert load_settings(config).camera[0].name == "g_te"


def test_it_prints_utf8_whatever_the_terminal_has(tmp_path: Path) -> None:
    path = frigate_file(tmp_path, MINIMAL.replace("gate:", "Gäte:"))
    command = [sys.executable, "-m", "edged", "migrate", "frigate", str(path)]
    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert "'Gäte'" in done.stdout.decode("utf-8")


def test_it_writes_a_file_and_overwrites_none(tmp_path: Path) -> None:
    path, out = frigate_file(tmp_path, MINIMAL), tmp_path / "edged.toml"
    done = run_edged("migrate", "frigate", path, "--out", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"wrote {out}: 1 camera; read its comments, then: edged check --config {out}\n"
    assert load_settings(out).camera[0].name == "gate"
    out.write_text("mine")
    done = run_edged("migrate", "frigate", path, "--out", out)
    assert (done.returncode, out.read_text()) == (2, "mine")
    assert "is there already; name another, or add --force" in done.stderr
    assert run_edged("migrate", "frigate", path, "--out", out, "--force").returncode == 0
    assert load_settings(out).camera[0].name == "gate"


def test_it_never_overwrites_frigates_file(tmp_path: Path) -> None:
    path = frigate_file(tmp_path, MINIMAL)
    before = path.read_text()
    done = run_edged("migrate", "frigate", path, "--out", path, "--force")
    assert (done.returncode, path.read_text()) == (2, before)
    assert "is Frigate's own file" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["config.yml", "--force"], 2, "--force without --out"),
        (["config.yml", "--out", "no/edged.toml"], 2, "no/edged.toml: cannot be written: No such file or directory"),
        (["missing.yml"], 78, "missing.yml: cannot be read: No such file or directory; name Frigate's config.yml"),
        (["list.yml"], 65, "list.yml: expected keys such as mqtt: and cameras:, got a list"),
    ],
    ids=["force", "out", "missing", "list"],
)
def test_what_cannot_be_done_is_said_in_one_line(tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    frigate_file(tmp_path, "- a").rename(tmp_path / "list.yml")
    frigate_file(tmp_path, MINIMAL)
    done = run_edged("migrate", "frigate", *arguments, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr and done.stderr.count("\n") == 1


def test_a_file_that_is_refused_leaves_no_output(tmp_path: Path) -> None:
    out = tmp_path / "edged.toml"
    assert run_edged("migrate", "frigate", frigate_file(tmp_path, "- a"), "--out", out).returncode == 65
    assert not out.exists()


def test_help_teaches() -> None:
    assert "edged migrate frigate config.yml" in run_edged("--help").stdout
    assert "edged migrate frigate config.yml --out edged.toml" in run_edged("migrate", "--help").stdout
    shown = run_edged("migrate", "frigate", "--help").stdout
    assert "No password is copied" in shown and "Exit code: 0" in shown


def test_without_pyyaml_it_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['yaml'] = None; from edged.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "migrate", "frigate", str(frigate_file(tmp_path, MINIMAL))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert done.stderr == "edged: error: the Python package yaml is not installed; pip install 'edged[migrate]'\n"
