"""The store: atomic, content-addressed, exclusive, and whole after a kill or a full disk at every step."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.core.bundle import Bundle
from edged.core.errors import DataError, EdgedError, UsageError
from provisioning.store import Entry, Store
from tests.provisioning.store_killer import manifest

KILLER = Path(__file__).with_name("store_killer.py")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def _add(store: Store, name: str, content: bytes = b"weights") -> Bundle:
    return store.add(manifest(name), {"model.onnx": content})


def _require_whole(root: Path) -> Bundle:
    """The active bundle, with every byte checked."""
    bundle = Bundle.open(root / "active")
    for file in bundle.manifest.files:
        bundle.read(file)
    return bundle


def test_add_names_by_content(store: Store) -> None:
    bundle = _add(store, "street")
    assert bundle.directory.parent == store.root / ".objects"
    assert bundle.read("model.onnx") == b"weights"
    assert os.readlink(store.root / "street") == f".objects/{bundle.directory.name}"
    assert _add(store, "street").directory == bundle.directory
    assert store.entries() == [Entry("street", bundle.directory.name, active=False, previous=False)]
    assert not store.has_active()


def test_add_copies_files(store: Store, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(os.urandom(3_000_000))
    bundle = store.add(manifest("street"), {"model.onnx": tmp_path / "source"})
    assert bundle.read("model.onnx") == (tmp_path / "source").read_bytes()


def test_add_is_readable_but_not_writable_by_others_whatever_the_umask(store: Store) -> None:
    before = os.umask(0)
    try:
        bundle = _add(store, "street")
    finally:
        os.umask(before)
    modes = {
        path: path.lstat().st_mode & 0o777 for path in [store.root, *store.root.rglob("*")] if not path.is_symlink()
    }
    assert all(not mode & 0o022 for mode in modes.values()), modes
    os.umask(0o077)
    try:
        private = _add(store, "yard")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in private.directory.iterdir()} == {0o644}
    assert bundle.directory.stat().st_mode & 0o777 == 0o755


def test_activate_and_rollback(store: Store) -> None:
    street, yard = _add(store, "street"), _add(store, "yard")
    with pytest.raises(UsageError, match="no earlier bundle"):
        store.rollback()
    store.activate("street")
    assert store.active() == street
    assert store.activate("yard") == yard
    assert [(entry.name, entry.active, entry.previous) for entry in store.entries()] == [
        ("street", False, True),
        ("yard", True, False),
    ]
    assert store.activate("yard") == yard  # again: the way back stays
    assert store.rollback() == street
    assert store.rollback() == yard


def test_activate_refuses_unknown_and_damaged(store: Store) -> None:
    street = _add(store, "street")
    store.activate("street")
    with pytest.raises(UsageError, match=r"no bundle named yard \(it has street\)"):
        store.activate("yard")
    yard = _add(store, "yard")
    (yard.directory / "model.onnx").write_bytes(b"Weights")
    with pytest.raises(DataError, match="expected 7 bytes with SHA-256"):
        store.activate("yard")
    assert store.active() == street
    assert _add(store, "yard").read("model.onnx") == b"weights"  # the same content mends it
    store.activate("yard")


def test_garbage_spares_active_previous_and_named(store: Store) -> None:
    first = _add(store, "street", b"1")
    store.activate("street")
    second = _add(store, "street", b"2")
    store.activate("street")
    third = _add(store, "street", b"3")
    fourth = _add(store, "street", b"4")
    assert store.collect_garbage() == [third.directory.name]
    kept = {path.name for path in (store.root / ".objects").iterdir()}
    assert kept == {bundle.directory.name for bundle in (first, second, fourth)}
    store.activate("street")  # the first is now neither active nor previous nor named
    assert not first.directory.exists()
    assert store.rollback() == second


@pytest.mark.parametrize("name", ["", "active", ".hidden", "a/b", "..", "a b", "ä", "x" * 65, "-x", "a\n"])
def test_add_refuses_name(store: Store, name: str) -> None:
    with pytest.raises((UsageError, DataError)):
        _add(store, name)
    assert not store.root.exists()


def test_add_refuses_store_writable_by_everyone(store: Store) -> None:
    store.root.mkdir()
    store.root.chmod(0o777)
    with pytest.raises(DataError, match="chmod o-w"):
        _add(store, "street")


def test_add_where_no_store_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgedError, match="cannot be made"):
        _add(Store(tmp_path / "file" / "models"), "street")


def test_links_out_of_the_store_are_no_bundles(store: Store, tmp_path: Path) -> None:
    _add(store, "street")
    (store.root / "elsewhere").symlink_to(tmp_path)
    (store.root / "active").symlink_to(tmp_path)
    assert store.names() == ["street"]
    assert store.active() is None


def test_add_leaves_a_real_directory_alone(store: Store) -> None:
    (store.root / "street").mkdir(parents=True)
    with pytest.raises(UsageError, match="street is in the way"):
        _add(store, "street")
    assert (store.root / "street").is_dir()


def test_second_process_is_refused_and_told_who(store: Store) -> None:
    code = (
        "import sys; from pathlib import Path; from provisioning.store import Store\n"
        "with Store(Path(sys.argv[1])).locked(): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(store.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(EdgedError, match=rf"in use by process {holder.pid} \(-c .*\) since 20"):
            _add(store, "street")
        assert store.entries() == []  # looking needs no lock
        holder.kill()
    _add(store, "street")  # gone with its holder


def test_lock_may_be_held_over_several_changes(store: Store) -> None:
    with store.locked():
        _add(store, "street")
        store.activate("street")
        with pytest.raises(EdgedError, match=f"in use by process {os.getpid()}"):
            _add(Store(store.root), "yard")
    _add(Store(store.root), "yard")


@pytest.mark.parametrize("mode", ["kill", "full"])
def test_store_is_whole_after_every_step(tmp_path: Path, mode: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, str(KILLER), str(tmp_path), mode], capture_output=True, text=True, check=True, env=environment
    )
    lines = done.stdout.splitlines()
    assert lines[-1].endswith("exit 7"), done  # the last run met no trap and finished
    steps = int(lines[-1].split()[0])
    assert steps > 20
    if mode == "kill":
        assert [line.split(" ", 1)[1] for line in lines[:-1]] == ["exit -9"] * (steps - 1)
    contents = set()
    for step in range(1, steps + 1):
        root = tmp_path / str(step)
        contents.add(_require_whole(root).read("model.onnx"))
        store = Store(root)
        assert store.names() == ["street", "yard"]
        for name in store.names():
            store.activate(name)
        assert _add(store, "third").read("model.onnx") == b"weights"
        store.collect_garbage()
        leftovers = [path.name for path in (root / ".objects").iterdir() if path.name.startswith(".")]
        assert leftovers == []
    assert contents == {b"old", b"new" * 1000}


def test_full_disk_is_said_and_changes_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(KILLER), str(tmp_path), "full"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    messages = [line for line in done.stdout.splitlines() if " exit " not in line]
    assert messages
    assert all("Error: " in line and "No space left on device" in line for line in messages), messages
    assert not any("OSError" in line for line in messages), messages


@contextlib.contextmanager
def _small_disk(path: Path) -> Iterator[None]:
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_add_to_a_disk_that_is_really_full(tmp_path: Path) -> None:
    with _small_disk(tmp_path / "disk"):
        store = Store(tmp_path / "disk" / "models")
        _add(store, "street")
        store.activate("street")
        with pytest.raises(EdgedError, match="No space left on device"):
            _add(store, "yard", bytes(300_000))
        assert _require_whole(store.root).manifest.name == "street"
        assert store.names() == ["street"]
        _add(store, "yard", bytes(20_000))
        assert store.activate("yard").manifest.name == "yard"
