"""Archives in folders that fit a transfer: no limit is exceeded, and what comes out is what went in, or an error."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.gpu.short_run.archive import pack
from tests.gpu.short_run.receive import main
from tests.gpu.short_run.tools import require_tools
from tests.gpu.short_run.transfer import CONTENT, CONTENT_BYTES, TransferError, lay, receive, unpack
from tests.gpu.steps import ROOT

KIB = 1 << 10
FOLDER_BYTES = CONTENT_BYTES + 100 * KIB


def noise(path: Path, nbytes: int) -> Path:
    path.write_bytes(random.Random(nbytes).randbytes(nbytes))
    return path


def sizes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def pieces(folder: Path) -> list[tuple[str, int]]:
    return [(piece["archive"], piece["nbytes"]) for piece in json.loads((folder / CONTENT).read_text())["pieces"]]


@pytest.mark.parametrize(
    ("groups", "wanted"),
    [
        pytest.param([[30]], [[("a0", 30)]], id="one"),
        pytest.param([[250]], [[("a0", 100)], [("a0", 100)], [("a0", 50)]], id="split"),
        pytest.param([[30, 90]], [[("a0", 30), ("a1", 70)], [("a1", 20)]], id="filled"),
        pytest.param([[90, 80]], [[("a0", 90)], [("a1", 80)]], id="no crumbs"),
        pytest.param([[95, 5]], [[("a0", 95), ("a1", 5)]], id="small ones whole"),
        pytest.param([[10], [10]], [[("a0", 10)], [("b0", 10)]], id="a folder a group"),
        pytest.param([[100, 100]], [[("a0", 100)], [("a1", 100)]], id="exactly full"),
        pytest.param([[], [10]], [[("b0", 10)]], id="empty group"),
    ],
)
def test_lay_splits_what_would_be_too_large(
    tmp_path: Path, groups: Sequence[Sequence[int]], wanted: list[list[tuple[str, int]]]
) -> None:
    archives = [
        [noise(tmp_path / f"{'ab'[group]}{place}.tar.xz", size * KIB) for place, size in enumerate(each)]
        for group, each in enumerate(groups)
    ]
    folders = lay(archives, tmp_path / "out", folder_bytes=FOLDER_BYTES)
    got = [[(name, nbytes // KIB) for name, nbytes in pieces(folder)] for folder in folders]
    assert got == wanted
    assert all(sizes(folder) <= FOLDER_BYTES for folder in folders)
    for folder in folders:
        receive(folder, tmp_path / "work")
    for each in archives:
        for path in each:
            assert (tmp_path / "work" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("seed", range(20))
def test_lay_never_exceeds_the_limit(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    groups = [
        [noise(tmp_path / f"{group}-{place}.tar.xz", rng.randint(1, 300 * KIB)) for place in range(rng.randint(0, 4))]
        for group in range(3)
    ]
    folders = lay(groups, tmp_path / "out", folder_bytes=FOLDER_BYTES)
    assert all(0 < sizes(folder) <= FOLDER_BYTES for folder in folders)
    for folder in folders:
        receive(folder, tmp_path / "work")
    for path in (path for group in groups for path in group):
        assert (tmp_path / "work" / path.name).read_bytes() == path.read_bytes()


def test_lay_removes_the_folders_of_an_earlier_laying(tmp_path: Path) -> None:
    lay([[noise(tmp_path / "a.tar.xz", 250 * KIB)]], tmp_path / "out", folder_bytes=FOLDER_BYTES)
    lay([[noise(tmp_path / "a.tar.xz", 50 * KIB)]], tmp_path / "out", folder_bytes=FOLDER_BYTES)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["1"]
    with pytest.raises(TransferError, match="leave no room"):
        lay([], tmp_path / "out", folder_bytes=CONTENT_BYTES)


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """An archive of a real folder in three transfers."""
    require_tools()
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    noise(source / "inner" / "large.bin", 250 * KIB)
    tool = source / "run"
    tool.write_text("#!/bin/sh\necho ran\n")
    tool.chmod(0o755)
    (source / "short.so").symlink_to("run")
    made = lay([[pack(source, tmp_path / "tool.tar.xz")]], tmp_path / "out", folder_bytes=FOLDER_BYTES)
    assert len(made) == 3
    return made


def test_archive_arrives_as_it_was(folders: list[Path], tmp_path: Path) -> None:
    work = tmp_path / "work"
    for folder in [*folders, folders[0]]:  # again: nothing changes
        receive(folder, work)
    unpacked = unpack("tool", work)
    assert (unpacked / "inner" / "large.bin").read_bytes() == (tmp_path / "source/inner/large.bin").read_bytes()
    assert subprocess.run([unpacked / "short.so"], capture_output=True, check=True).stdout == b"ran\n"
    (unpacked / "mark").touch()
    assert (unpack("tool", work) / "mark").exists()  # once only


def test_archive_of_another_laying_takes_the_place_of_the_old(folders: list[Path], tmp_path: Path) -> None:
    work = tmp_path / "work"
    receive(folders[0], work)
    other = lay([[noise(tmp_path / "tool.tar.xz", 60 * KIB)]], tmp_path / "other", folder_bytes=FOLDER_BYTES)
    receive(other[0], work)
    assert (work / "tool.tar.xz").read_bytes() == (tmp_path / "tool.tar.xz").read_bytes()


def test_transfer_that_is_missing_is_told(folders: list[Path], tmp_path: Path) -> None:
    work = tmp_path / "work"
    with pytest.raises(TransferError, match="tool has not come"):
        unpack("tool", work)
    receive(folders[0], work)
    with pytest.raises(TransferError, match="only 102400 came before; receive the folders in the order"):
        receive(folders[2], work)
    receive(folders[1], work)
    with pytest.raises(TransferError, match=r"not whole: 204800 of \d+ bytes came"):
        unpack("tool", work)


def test_transfer_that_is_damaged_is_told(folders: list[Path], tmp_path: Path) -> None:
    piece = next(path for path in folders[1].iterdir() if path.name != CONTENT)
    content = piece.read_bytes()
    piece.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(TransferError, match="is damaged; carry"):
        receive(folders[1], tmp_path / "work")
    piece.unlink()
    with pytest.raises(TransferError, match="cannot be read: No such file"):
        receive(folders[1], tmp_path / "work")
    (folders[1] / CONTENT).write_text('{"schema": "other"}')
    with pytest.raises(TransferError, match="schema 'other'"):
        receive(folders[1], tmp_path / "work")


def test_receive_says_in_one_line_what_is_wrong(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = ("--work", str(tmp_path / "work"))
    assert main([str(folders[0]), *work, "--unpack", "tool"]) == 1
    assert "tool is not whole" in capsys.readouterr().err
    assert main([str(folders[1]), str(folders[2]), *work, "--unpack", "tool"]) == 0
    assert main([str(tmp_path / "nowhere"), *work]) == 1
    assert "make gpu-files" in capsys.readouterr().err


def test_receive_starts_on_a_python_without_any_package() -> None:
    command = (sys.executable, "-S", "-m", "tests.gpu.short_run.receive", "--help")
    assert (
        subprocess.run(command, cwd=ROOT, env={"PATH": os.environ["PATH"]}, capture_output=True, check=False).returncode
        == 0
    )
