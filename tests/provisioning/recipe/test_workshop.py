"""Outputs by the hash of their inputs: made once, whole or not at all, by one run at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edged.core.errors import EdgedError
from provisioning.recipe.workshop import KEPT_PER_STAGE, Output, Workshop

ROOT = Path(__file__).parents[3]
HOLDER = """
import sys, time
from pathlib import Path
from provisioning.recipe.workshop import Workshop
shop = Workshop(Path(sys.argv[1]), force=False, dry_run=False, say=lambda line: None)
with shop.locked():
    def work(folder):
        (folder / "half").write_text("half")
        print("working", flush=True)
        time.sleep(60)
    shop.make("stage", {"a": 1}, work)
"""


class Run:
    """One run; remembers what it said."""

    def __init__(self, root: Path, *, force: bool = False, dry_run: bool = False) -> None:
        self.said: list[str] = []
        self.shop = Workshop(root, force=force, dry_run=dry_run, say=self.said.append)

    def make(self, inputs: dict[str, object], text: str = "content", stage: str = "stage") -> Output:
        def work(folder: Path) -> None:
            (folder / "file").write_text(text)

        with self.shop.locked():
            return self.shop.make(stage, inputs, work)


def test_an_output_is_made_once(tmp_path: Path) -> None:
    first = Run(tmp_path).make({"a": 1}, "first")
    second = Run(tmp_path).make({"a": 1}, "second")
    assert (first.fresh, second.fresh) == (True, False)
    assert first.key == second.key
    assert (second.folder / "file").read_text() == "first"


def test_other_inputs_or_another_stage_are_another_output(tmp_path: Path) -> None:
    keys = {Run(tmp_path).make({"a": 1}).key, Run(tmp_path).make({"a": 2}).key, Run(tmp_path).make({"b": 1}).key}
    keys.add(Run(tmp_path).make({"a": 1}, stage="other").key)
    assert len(keys) == 4


def test_the_order_of_inputs_does_not_matter(tmp_path: Path) -> None:
    assert Run(tmp_path).make({"a": 1, "b": 2}).key == Run(tmp_path).make({"b": 2, "a": 1}).key


def test_force_makes_it_anew(tmp_path: Path) -> None:
    Run(tmp_path).make({"a": 1}, "first")
    forced = Run(tmp_path, force=True).make({"a": 1}, "second")
    assert forced.fresh
    assert (forced.folder / "file").read_text() == "second"


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path / "work", dry_run=True)
    output = run.make({"a": 1})
    assert output.fresh
    assert not (tmp_path / "work").exists()
    assert run.said == [f"stage     would run ({output.key})"]


def test_work_that_fails_leaves_nothing_and_a_forced_one_what_was_there(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "file").write_text("half")
        raise RuntimeError("no")

    Run(tmp_path).make({"a": 1}, "good")
    run = Run(tmp_path, force=True)
    for inputs in ({"a": 1}, {"a": 2}):
        with pytest.raises(RuntimeError), run.shop.locked():
            run.shop.make("stage", inputs, fail)
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == [
        Run(tmp_path).make({"a": 1}).folder.name
    ]
    assert (Run(tmp_path).make({"a": 1}).folder / "file").read_text() == "good"


def test_a_killed_run_leaves_nothing_that_looks_done_and_no_lock(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "working\n"
        with pytest.raises(EdgedError, match=rf"in use by .*{holder.pid}"):
            Run(tmp_path).make({"a": 1})
        holder.send_signal(signal.SIGKILL)
    output = Run(tmp_path).make({"a": 1})
    assert output.fresh
    assert sorted(path.name for path in output.folder.iterdir()) == ["file", "inputs.json"]
    assert not list(tmp_path.glob(".unfinished*"))


def test_a_folder_that_cannot_be_made_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgedError, match="the active bundle is untouched"):
        Run(tmp_path / "file" / "work").make({"a": 1})


def test_prune_keeps_the_newest_and_those_of_this_run(tmp_path: Path) -> None:
    folders = [Run(tmp_path).make({"a": number}).folder for number in range(6)]
    for age, folder in enumerate(folders):
        os.utime(folder, (1000 + age, 1000 + age))
    run = Run(tmp_path)
    kept = run.make({"a": 0}).folder
    os.utime(kept, (1, 1))
    run.shop.prune()
    left = {path for path in tmp_path.iterdir() if path.is_dir()}
    assert left == {folders[0], folders[5], folders[4]}
    assert len(left) == KEPT_PER_STAGE
