"""What `make gpu-files` lays: its limits, and what it says where something is missing. No network is needed here."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from provisioning.frames.frameset import FrameSet
from provisioning.frames.sample import sample
from tests.gpu import packages
from tests.gpu.short_run import bundle, files, tensorrt_853, wheels
from tests.gpu.short_run.tools import require_tools
from tests.gpu.short_run.transfer import MIB, TransferError


def write(path: Path, nbytes: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(np.random.default_rng(0).bytes(nbytes))
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A working tree of 3 MiB that travel, and one that does not."""
    require_tools()
    root = tmp_path / "tree"
    write(root / "kept.bin", MIB)
    subprocess.run(("git", "init", "-q", str(root)), check=True)
    subprocess.run(("git", "-C", str(root), "add", "kept.bin"), check=True)
    write(root / "new.bin", 2 * MIB)
    (root / ".gitignore").write_text("/ignored/\n")
    write(root / "ignored" / "large.bin", 9 * MIB)
    return root


def test_tree_is_what_git_tracks_and_does_not_ignore(tree: Path, tmp_path: Path) -> None:
    assert files.tree_bytes(tree) == 3 * MIB + len("/ignored/\n")
    with pytest.raises(TransferError, match="git ls-files"):
        files.tree_bytes(tmp_path)


@pytest.mark.parametrize(
    ("tree_mib", "wanted_mib"), [(0, 50), (9.5, 50), (20, 43), (62, 1)], ids=["none", "usual", "large", "hardly any"]
)
def test_folder_and_tree_are_one_transfer(tree_mib: float, wanted_mib: float) -> None:
    got = files.room(int(tree_mib * MIB), part_mib=50, transfer_mib=64)
    assert got == wanted_mib * MIB and got + tree_mib * MIB <= 63 * MIB


def test_tree_that_leaves_no_room_is_told() -> None:
    with pytest.raises(TransferError, match=r"working tree has 62\.5 MiB and leaves no room in a transfer of 64 MiB"):
        files.room(int(62.5 * MIB), part_mib=50, transfer_mib=64)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages are noise of the sizes that matter."""

    def site(folder: Path, *, python: str) -> Path:
        assert python == "3.12"
        return write(folder / "package.bin", MIB).parent

    def rtx(folder: Path, *, python: str, cuda: str) -> Path:
        assert (python, cuda) == ("3.12", "cu13")
        return write(folder / "library.bin", 4 * MIB).parent

    def make(_weights: Path, _frames: Path, work: Path, **_: object) -> tuple[Path, Path]:
        return write(work / "bundle" / "model.onnx", MIB).parent, write(work / "frames" / "0.png", MIB).parent

    def assemble(folder: Path, *, python310: Path | None) -> Path:
        assert python310 is None
        return write(folder / "run", 4 * MIB).parent

    monkeypatch.setattr(wheels, "site", site)
    monkeypatch.setattr(wheels, "rtx", rtx)
    monkeypatch.setattr(bundle, "make", make)
    monkeypatch.setattr(tensorrt_853, "assemble", assemble)


@pytest.mark.usefixtures("no_network")
def test_everything_is_laid_within_the_limits(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(files, "ROOT", tree)
    words = ["--weights", "w.pt", "--frames", "f", "--tensorrt", "8.5.3", "--part-mib", "4", "--transfer-mib", "8"]
    assert files.main([*words, "--out", str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1", "2", "3", "4"]
    for folder in (tmp_path / "out").iterdir():
        nbytes = sum(path.stat().st_size for path in folder.iterdir())
        assert nbytes <= 4 * MIB and nbytes + files.tree_bytes(tree) <= 8 * MIB
    told = capsys.readouterr().out.splitlines()[-5:]
    assert told[0].startswith("working tree 3.0 MiB") and "site 1.0, rtx 2.9" in told[1]
    assert "bundle 1.0" in told[2] and "tensorrt 3.9" in told[3] and "tensorrt 0.1" in told[4]


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("words", [["--weights", "w.pt"], ["--frames", "f"]], ids=str)
def test_half_of_a_bundle_is_told(words: Sequence[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert files.main([*words, "--out", str(tmp_path / "out")]) == 64
    assert "needs both WEIGHTS and FRAMES" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_network")
def test_failure_leaves_what_was_laid_before(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(files, "ROOT", tree)
    assert files.main(["--out", str(tmp_path / "out")]) == 0

    def fails(*_: object, **__: object) -> Path:
        raise TransferError("uv pip: no such package")

    monkeypatch.setattr(wheels, "rtx", fails)
    assert files.main(["--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == "uv pip: no such package\n"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["1"]


def test_packages_that_are_there_are_not_carried() -> None:
    resolved = [
        "numpy==2.5",
        "PyYAML==6",
        "typing-extensions==4",
        "ml-dtypes==0.6",
        "pydantic-core==2.50",
        "newly==1",
    ]
    assert wheels.without_usual(resolved) == ["pydantic-core==2.50", "newly==1"]
    assert not {packages.normal(name) for name in packages.CARRIED.values()} & {
        packages.normal(name) for name in (*packages.USUAL.values(), *packages.BROUGHT)
    }


def test_frames_for_verification_alone_are_carried(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(10):
        cv2.imwrite(str(pictures / f"{number}.png"), np.full((32, 32, 3), 20 * number, np.uint8))
    sampled = sample([str(pictures)], tmp_path / "sampled", count=6, verification=4)
    folder = bundle.kept_apart(tmp_path / "sampled", tmp_path / "frames", most=3)
    carried = FrameSet.read(folder)
    assert carried.frames == sampled.of("verification")[:3] and len(list(carried.pictures("verification"))) == 3
    assert len(list(folder.iterdir())) == 4
    sample([str(pictures)], tmp_path / "none", count=3, verification=0)
    with pytest.raises(TransferError, match="holds no frames for verification"):
        bundle.kept_apart(tmp_path / "none", tmp_path / "other", most=3)


def test_python_310_that_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    with pytest.raises(TransferError, match=r"needs CPython 3\.10, and none is on the PATH or in pyenv; install one"):
        tensorrt_853.find_python310(None)
    other = tmp_path / "python3.10"
    other.write_text("#!/bin/sh\necho 3.12\n")
    other.chmod(0o755)
    with pytest.raises(TransferError, match=r"python3\.10 is none"):
        tensorrt_853.find_python310(other)
    real = tmp_path / "versions" / "3.10.7" / "bin" / "python3.10"
    real.parent.mkdir(parents=True)
    real.write_text("#!/bin/sh\necho 3.10\n")
    real.chmod(0o755)
    assert tensorrt_853.find_python310(None) == real
