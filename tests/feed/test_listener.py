from __future__ import annotations

import errno
import grp
import os
import socket
import stat
from pathlib import Path

import pytest

from edged.core.errors import ConfigError
from edged.feed.listener import listen


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_this_user_may_connect(tmp_path: Path) -> None:
    with listen(tmp_path / "run" / "feed.sock", group=""):
        assert mode_of(tmp_path / "run" / "feed.sock") == 0o600


def test_a_group_of_this_process_may_connect(tmp_path: Path) -> None:
    group = grp.getgrgid(os.getgid())
    with listen(tmp_path / "feed.sock", group=group.gr_name):
        assert mode_of(tmp_path / "feed.sock") == 0o660
        assert (tmp_path / "feed.sock").stat().st_gid == group.gr_gid


def test_a_group_that_does_not_exist_changes_nothing(tmp_path: Path) -> None:
    with listen(tmp_path / "feed.sock", group="no-such-group"):
        assert mode_of(tmp_path / "feed.sock") == 0o600


def test_a_group_that_cannot_be_given_the_socket_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As under a filter of system calls that forbids it."""

    def forbidden(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.chown", forbidden)
    group = grp.getgrgid(os.getgid()).gr_name
    with listen(tmp_path / "feed.sock", group=group):
        assert mode_of(tmp_path / "feed.sock") == 0o600
    assert f"cannot be opened to the group {group}: Operation not permitted" in caplog.text


def test_what_a_killed_run_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "feed.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    with listen(path, group=""), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_another_program_is_left_alone(tmp_path: Path) -> None:
    with listen(tmp_path / "feed.sock", group=""), pytest.raises(ConfigError, match="another program listens there"):
        listen(tmp_path / "feed.sock", group="")


@pytest.mark.parametrize(
    ("prepare", "problem"),
    [
        pytest.param(lambda folder: (folder / "feed.sock").write_text("dear diary"), "is no socket", id="a file"),
        pytest.param(lambda folder: (folder / "feed.sock").mkdir(), "is no socket", id="a folder"),
    ],
)
def test_what_is_no_socket_is_left_alone(tmp_path: Path, prepare: object, problem: str) -> None:
    prepare(tmp_path)  # type: ignore[operator]
    with pytest.raises(ConfigError, match=problem):
        listen(tmp_path / "feed.sock", group="")
    assert (tmp_path / "feed.sock").exists()


def test_a_long_path_is_refused_with_its_limit(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"at most 107 bytes, got .*name another with .feed. socket"):
        listen(tmp_path / ("long" * 30) / "feed.sock", group="")


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"socket: .*: Not a directory|File exists"):
        listen(tmp_path / "file" / "feed.sock", group="")
