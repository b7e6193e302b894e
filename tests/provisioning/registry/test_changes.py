"""A tag that moves, bundles that do not run, and what scripts are told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edged.store.lock import FileLock
from edged.store.trials import Refusal, Trials, write_trials
from provisioning.store import Store
from tests.provisioning.registry.boxes import Box, active, add_bundle


def pushed(box: Box, store: Path, tag: str, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """Push and return the digest that the command tells a script."""
    capsys.readouterr()
    assert box.push(store, tag, "--key", str(box.keys / "bundles.key"), "--json", *more) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"reference": f"{box.host}/boxes/yard:{tag}", "digest": told["digest"], "signed": True}
    return str(told["digest"])


def links(folder: Path) -> dict[str, str]:
    """Where each visible link of a box's store leads."""
    return {path.name: str(path.readlink()) for path in (folder / "models").iterdir() if path.is_symlink()}


def test_a_tag_that_moved_is_said_and_followed_and_a_digest_stays(
    box: Box, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_bundle(tmp_path / "newer", store, licence="newer")
    old = pushed(box, store, "moving", capsys)
    assert box.pull(tmp_path, "moving") == 0
    first = active(tmp_path)
    new = pushed(box, tmp_path / "newer", "moving", capsys)
    assert new != old

    assert box.pull(tmp_path, f"@{old}") == 0
    assert "up to date" in capsys.readouterr().out
    assert active(tmp_path) == first
    assert box.pull(tmp_path, "moving") == 0
    assert f"squares is another bundle now: {new}, {old} before" in capsys.readouterr().out
    assert Store(tmp_path / "models").open("squares").manifest.licence == "newer"
    assert box.pull(tmp_path, f"moving@{old}") == 0, "the digest counts, not where the tag leads"
    assert active(tmp_path) == first


def test_a_second_key_signs_beside_the_first_and_none_signs_twice(
    box: Box, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_bundle(tmp_path / "next", store, licence="signed twice")
    for key in ("bundles", "other", "bundles"):
        capsys.readouterr()
        assert box.push(tmp_path / "next", "twice", "--key", str(box.keys / f"{key}.key")) == 0
    digest = capsys.readouterr().out.split()[1].rstrip(",")
    for key in ("bundles.pub", "other.pub"):
        assert box.pull(tmp_path / key, "twice", key=key) == 0
    tag = box.data / "docker/registry/v2/repositories/boxes/yard/_manifests/tags" / f"{digest.replace(':', '-')}.sig"
    whole = json.loads(box.blob((tag / "current/link").read_text().removeprefix("sha256:")).read_text())
    assert len(whole["layers"]) == 2


def test_two_pulls_at_once_do_not_write_into_each_others_files(
    box: Box, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert box.push(store, "at-once") == 0
    downloads = tmp_path / "work/registry"
    downloads.mkdir(parents=True)
    with FileLock(downloads / ".lock"):
        assert box.pull(tmp_path, "at-once") == 70
    assert f"{downloads} is in use by process" in capsys.readouterr().err
    assert not active(tmp_path)
    assert box.pull(tmp_path, "at-once") == 0
    assert [path.name for path in downloads.iterdir()] == [".lock"], "downloads are left behind"


def test_scripts_are_told_in_json_what_was_pulled(
    box: Box, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_bundle(tmp_path / "newer", store, licence="told")
    for origin, before in ((store, False), (tmp_path / "newer", True)):
        digest = pushed(box, origin, "told", capsys)
        assert box.pull(tmp_path, "told", "--json") == 0
        told = json.loads(capsys.readouterr().out)
        assert told["digest"] == digest
        assert told["bundle"] == str((tmp_path / "models/active").resolve())
        assert told["changed"] is True
        assert bool(told["before"]) is before
        assert told["fetched_bytes"] > 0
    assert box.pull(tmp_path, "told", "--json") == 0
    told_again = json.loads(capsys.readouterr().out)
    assert told_again == {**told, "changed": False, "before": "", "fetched_bytes": told_again["fetched_bytes"]}


@pytest.mark.parametrize("name", ["squares", "new"], ids=["name-in-use", "new-name"])
@pytest.mark.parametrize(
    ("why", "ending"),
    [
        pytest.param("no-model", (65, "model.onnx"), id="no-model"),
        pytest.param("refused-before", (2, "failed on this device at 2026-11-30T12:00:00Z"), id="refused-before"),
        pytest.param("interrupted", (130, "interrupted"), id="interrupted"),
    ],
)
def test_a_bundle_that_does_not_run_here_leaves_every_link_as_it_was(
    box: Box, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    name: str, why: str, ending: tuple[int, str],
) -> None:  # fmt: skip
    assert box.push(store, "runs") == 0
    assert box.pull(tmp_path, "runs") == 0
    if name == "squares":  # and not the active one
        add_bundle(tmp_path / "models", store, licence="by hand")
        Store(tmp_path / "models").activate("squares")
        assert box.pull(tmp_path, "runs", "--name", "other") == 0
    before = links(tmp_path)

    model = b"this is no ONNX" if why == "no-model" else b""
    add_bundle(tmp_path / "next", store, licence=f"next {why}", model=model)
    assert box.push(tmp_path / "next", "fails") == 0
    if why == "refused-before":
        assert box.pull(tmp_path / "probe", "fails", "--name", name) == 0
        objects = "models/.objects"
        shutil.copytree(tmp_path / "probe" / objects, tmp_path / objects, dirs_exist_ok=True)
        refusal = Refusal(name, "it made the daemon crash", at="2026-11-30T12:00:00Z", back_to="")
        write_trials(tmp_path / "models", Trials(refused={active(tmp_path / "probe"): refusal}))
    capsys.readouterr()
    if why == "interrupted":
        monkeypatch.setattr(Store, "activate", _interrupted)
    code = box.pull(tmp_path, "fails", "--name", name)
    shown = capsys.readouterr().err
    assert (code, shown.count("\n")) == (ending[0], 1)
    assert ending[1] in shown
    assert links(tmp_path) == before


def _interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
